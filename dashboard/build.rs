//! Builds the page with npm, away from the sources, and lists its files for `src/assets.rs` to embed.
//!
//! Without npm the gateway is built all the same, with a page of two lines in place of the dashboard. A build that is
//! to be shipped sets `MINER_CTRL_REQUIRE_WEB=1`: then it fails instead.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fmt};

/// What is not taken from `web/`: it is made anew, or it is not needed.
const LEFT_OUT: [&str; 4] = ["node_modules", "dist", "coverage", ".vite"];

/// The page without the dashboard.
const FALLBACK: &str = "<!doctype html><meta charset=\"utf-8\"><title>miner-ctrl</title>\n\
    <p>This miner-ctrl was built without its dashboard; its API is here all the same.\n\
    <p>Install Node.js 20 or later with npm, and build it again.\n";

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=MINER_CTRL_REQUIRE_WEB");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_WEB").is_none() {
        return ExitCode::SUCCESS;
    }
    let (Some(sources), Some(out)) = (env::var_os("CARGO_MANIFEST_DIR"), env::var_os("OUT_DIR")) else {
        println!("cargo::error=cargo names no directories");
        return ExitCode::FAILURE;
    };
    let (sources, out) = (Path::new(&sources).join("web"), PathBuf::from(out));
    let required = env::var_os("MINER_CTRL_REQUIRE_WEB").is_some_and(|value| value == "1");
    let files = match page(&sources, &out) {
        Ok(files) => files,
        Err(why) if required => {
            println!("cargo::error=the dashboard's page cannot be built: {why}");
            return ExitCode::FAILURE;
        }
        Err(why) => {
            println!("cargo::warning=built without the dashboard's page: {why}");
            try_again(&why, &out);
            Vec::new()
        }
    };
    match list(&out, files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=cannot list the page's files: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why there is no page.
enum Failed {
    Copy(io::Error),
    Missing,
    NoNpm(io::Error),
    Npm(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy(error) => write!(f, "its sources cannot be copied: {error}"),
            Self::Missing => f.write_str("there are no sources in dashboard/web"),
            Self::NoNpm(error) => write!(f, "npm does not run ({error}); install Node.js 20 or later"),
            Self::Npm(step) => write!(f, "`npm {step}` failed"),
        }
    }
}

/// Has the next build try again once the reason may be gone: cargo runs this for what it watches alone.
fn try_again(why: &Failed, out: &Path) {
    match why {
        // Until something is installed where programs are looked for.
        Failed::NoNpm(_) => {
            println!("cargo::rerun-if-env-changed=PATH");
            let path = env::var_os("PATH").unwrap_or_default();
            for directory in env::split_paths(&path).filter(|directory| directory.is_dir()) {
                println!("cargo::rerun-if-changed={}", directory.display());
            }
        }
        // Always, as for every file that is not there: no network, or an npm that was interrupted or is too old.
        Failed::Npm(_) => println!("cargo::rerun-if-changed={}", out.join("never").display()),
        Failed::Copy(_) | Failed::Missing => {}
    }
}

/// Builds the page; its files by their paths below the site.
fn page(sources: &Path, out: &Path) -> Result<Vec<(String, PathBuf)>, Failed> {
    println!("cargo::rerun-if-changed={}", sources.join("package.json").display());
    if !sources.join("package.json").is_file() {
        return Err(Failed::Missing);
    }
    let work = out.join("web");
    let lock = |at: &Path| fs::read(at.join("package-lock.json")).ok();
    // Packages are fetched anew only when other ones are asked for, or were not all there when npm was interrupted: it
    // writes this list last.
    let installed =
        work.join("node_modules/.package-lock.json").is_file() && lock(&work).is_some() && lock(&work) == lock(sources);
    clear(&work).and_then(|()| copy(sources, &work, true)).map_err(Failed::Copy)?;
    if !installed {
        let _ = fs::remove_dir_all(work.join("node_modules"));
        npm(&work, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"])?;
    }
    npm(&work, &["run", "build"])?;
    let mut files = Vec::new();
    gather(&work.join("dist"), "", &mut files).map_err(Failed::Copy)?;
    files.sort();
    Ok(files)
}

/// Everything that an earlier run left, but the packages.
fn clear(work: &Path) -> io::Result<()> {
    fs::create_dir_all(work)?;
    for entry in fs::read_dir(work)? {
        let entry = entry?;
        if entry.file_name() == OsStr::new("node_modules") {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, top: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if top {
            if LEFT_OUT.iter().any(|left_out| name == OsStr::new(left_out)) {
                continue;
            }
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, false)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn npm(work: &Path, arguments: &[&str]) -> Result<(), Failed> {
    let run = Command::new("npm").args(arguments).current_dir(work).output().map_err(Failed::NoNpm)?;
    if run.status.success() {
        return Ok(());
    }
    // Seen with `cargo build -vv`, and when the build fails.
    println!("{}\n{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    Err(Failed::Npm(arguments.join(" ")))
}

fn gather(directory: &Path, below: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            gather(&entry.path(), &path, files)?;
        } else {
            files.push((path, entry.path()));
        }
    }
    Ok(())
}

/// Writes the list that is compiled in.
fn list(out: &Path, mut files: Vec<(String, PathBuf)>) -> io::Result<()> {
    if !files.iter().any(|(path, _)| path == "/index.html") {
        let fallback = out.join("fallback.html");
        File::create(&fallback)?.write_all(FALLBACK.as_bytes())?;
        files = vec![("/index.html".to_owned(), fallback)];
    }
    let mut text = String::from("&[\n");
    for (path, file) in files {
        text += &format!("    ({path:?}, include_bytes!({:?})),\n", file.display().to_string());
    }
    text += "]\n";
    File::create(out.join("page.rs"))?.write_all(text.as_bytes())
}
