//! Extra arguments, translated into keys of the configuration file.
//!
//! What is not on the list is refused: options that name files or libraries (they would read, write or load what
//! the profile's author likes), that send hashes or logs elsewhere past the rig's policy (`-o`, `--socks5`), or that
//! break supervision (`--background`, `--http-*`).

use miner_ctrl_protocol::profile::Invalid;
use serde_json::{Value, json};

/// How an option's value is read.
#[derive(Debug, Clone, Copy)]
enum Takes {
    /// No value; the key becomes this.
    Flag(bool),
    /// A number in a range.
    Number(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Device numbers, e.g. `0,1`.
    Devices,
}

/// An option of XMRig's command line, and the key it stands for.
struct Argument {
    name: &'static str,
    key: &'static [&'static str],
    takes: Takes,
}

const fn option(name: &'static str, key: &'static [&'static str], takes: Takes) -> Argument {
    Argument { name, key, takes }
}

const OPTIONS: [Argument; 33] = [
    option(
        "--argon2-impl",
        &["cpu", "argon2-impl"],
        Takes::Word(&["x86_64", "SSE2", "SSSE3", "XOP", "AVX2", "AVX-512F"]),
    ),
    option("--asm", &["cpu", "asm"], Takes::Word(&["auto", "intel", "ryzen", "bulldozer", "none"])),
    option("--cache-qos", &["randomx", "cache_qos"], Takes::Flag(true)),
    option("--cpu-memory-pool", &["cpu", "memory-pool"], Takes::Number(-1, 1 << 20)),
    option("--cpu-no-yield", &["cpu", "yield"], Takes::Flag(false)),
    option("--cpu-priority", &["cpu", "priority"], Takes::Number(0, 5)),
    option("--cuda", &["cuda", "enabled"], Takes::Flag(true)),
    option("--cuda-bfactor-hint", &["cuda", "bfactor-hint"], Takes::Number(0, 12)),
    option("--cuda-bsleep-hint", &["cuda", "bsleep-hint"], Takes::Number(0, 100_000)),
    option("--cuda-devices", &["cuda", "devices-hint"], Takes::Devices),
    option("--dns-ipv6", &["dns", "ip_version"], Takes::Flag(true)),
    // More would send hashes past the rig's policy: XMRig's own default was 5 once, and is 1.
    option("--donate-level", &["donate-level"], Takes::Number(1, 5)),
    option("--health-print-time", &["health-print-time"], Takes::Number(0, 3600)),
    option("--huge-pages-jit", &["cpu", "huge-pages-jit"], Takes::Flag(true)),
    option("--no-cpu", &["cpu", "enabled"], Takes::Flag(false)),
    option("--no-dmi", &["dmi"], Takes::Flag(false)),
    option("--no-huge-pages", &["cpu", "huge-pages"], Takes::Flag(false)),
    option("--no-nvml", &["cuda", "nvml"], Takes::Flag(false)),
    option("--opencl", &["opencl", "enabled"], Takes::Flag(true)),
    option("--opencl-devices", &["opencl", "devices-hint"], Takes::Devices),
    option("--opencl-no-cache", &["opencl", "cache"], Takes::Flag(false)),
    option("--opencl-platform", &["opencl", "platform"], Takes::Word(&["AMD", "INTEL", "NVIDIA"])),
    option("--pause-on-active", &["pause-on-active"], Takes::Number(1, 86_400)),
    option("--pause-on-battery", &["pause-on-battery"], Takes::Flag(true)),
    option("--print-time", &["print-time"], Takes::Number(0, 3600)),
    option("--randomx-1gb-pages", &["randomx", "1gb-pages"], Takes::Flag(true)),
    option("--randomx-init", &["randomx", "init"], Takes::Number(-1, 4096)),
    option("--randomx-mode", &["randomx", "mode"], Takes::Word(&["auto", "fast", "light"])),
    option("--randomx-no-numa", &["randomx", "numa"], Takes::Flag(false)),
    option("--randomx-no-rdmsr", &["randomx", "rdmsr"], Takes::Flag(false)),
    option("--randomx-wrmsr", &["randomx", "wrmsr"], Takes::Number(-1, 15)),
    option("--retries", &["retries"], Takes::Number(1, 1000)),
    option("--retry-pause", &["retry-pause"], Takes::Number(1, 3600)),
];

/// Options that a profile has a field for.
const FIELDS: [(&str, &str); 22] = [
    ("--algo", "algorithm"),
    ("--coin", "coin"),
    ("--cpu-max-threads-hint", "threads_hint"),
    ("--pass", "password"),
    ("--rig-id", "rig_name"),
    ("--threads", "threads"),
    ("--tls", "pools[].tls"),
    ("--tls-fingerprint", "pools[].fingerprint"),
    ("--url", "pools[].url"),
    ("--user", "wallet"),
    ("--userpass", "wallet and password"),
    ("-O", "wallet and password"),
    ("-a", "algorithm"),
    ("-o", "pools[].url"),
    ("-p", "password"),
    ("-r", "an argument --retries=N"),
    ("-R", "an argument --retry-pause=N"),
    ("-t", "threads"),
    ("-u", "wallet"),
    ("--keepalive", "nothing: it is always on"),
    ("-k", "nothing: it is always on"),
    ("--no-color", "nothing: colours are always off"),
];

/// Writes the arguments' keys into a configuration.
///
/// # Errors
/// The first argument that is not allowed, not understood, or given twice.
pub(super) fn apply(arguments: &[String], config: &mut Value) -> Result<(), Invalid> {
    let mut seen = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let refuse = |why: String| Err(Invalid::new(format!("arguments[{index}]"), why));
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            return refuse(match FIELDS.iter().find(|(known, _)| *known == name) {
                Some((_, field)) => format!("`{name}` has its own place in a profile: use {field}"),
                None => format!("`{name}` is not one of the arguments a profile may carry: {}", names()),
            });
        };
        if seen.contains(&name) {
            return refuse(format!("`{name}` is given twice"));
        }
        seen.push(name);
        let value = match read(option, value) {
            Ok(value) => value,
            Err(why) => return refuse(format!("`{name}` {why}")),
        };
        let place = option.key.iter().fold(&mut *config, |place, key| &mut place[*key]);
        *place = value;
    }
    Ok(())
}

/// The arguments that stand for keys of a configuration as people write it. The keys are taken out of it.
pub(in crate::miners) fn take(config: &mut Value) -> Vec<String> {
    let taken = OPTIONS.iter().filter_map(|option| {
        let (last, sections) = option.key.split_last()?;
        let section = sections.iter().try_fold(&mut *config, |place, key| place.get_mut(*key))?.as_object_mut()?;
        let argument = written(option, section.get(*last)?)?;
        section.remove(*last);
        Some(argument)
    });
    taken.collect()
}

/// Whether one of the arguments is this option.
pub(super) fn has(arguments: &[String], name: &str) -> bool {
    arguments.iter().any(|argument| argument.split('=').next() == Some(name))
}

fn names() -> String {
    OPTIONS.iter().map(|option| option.name).collect::<Vec<_>>().join(" ")
}

fn read(option: &Argument, value: Option<&str>) -> Result<Value, String> {
    match (option.takes, value) {
        (Takes::Flag(_), Some(_)) => Err("takes no value".to_owned()),
        (Takes::Flag(_), None) if option.key == ["dns", "ip_version"] => Ok(json!(6)),
        (Takes::Flag(set), None) => Ok(json!(set)),
        (_, None) => Err(format!("needs a value: write {}=VALUE as one argument", option.name)),
        (Takes::Number(least, most), Some(text)) => match text.parse::<i64>() {
            // XMRig's own spelling of "leave the registers alone" and of "choose by yourself".
            Ok(-1) if option.name == "--randomx-wrmsr" => Ok(json!(false)),
            Ok(0) if option.name == "--randomx-wrmsr" => Ok(json!(true)),
            Ok(number) if (least..=most).contains(&number) => Ok(json!(number)),
            _ => Err(format!("takes a number from {least} to {most}")),
        },
        (Takes::Word(words), Some(text)) => match words.contains(&text) {
            true if option.name == "--asm" && text == "none" => Ok(json!(false)),
            true if option.name == "--asm" && text == "auto" => Ok(json!(true)),
            true => Ok(json!(text)),
            false => Err(format!("takes one of {}", words.join(", "))),
        },
        (Takes::Devices, Some(text)) => {
            let fits = text.len() <= 128
                && text
                    .split(',')
                    .all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
            if fits { Ok(json!(text)) } else { Err("takes device numbers, e.g. 0,1".to_owned()) }
        }
    }
}

/// The argument that sets an option's key to a value, when there is one.
fn written(option: &Argument, value: &Value) -> Option<String> {
    let text = match (option.takes, value) {
        (Takes::Flag(_), _) => return (read(option, None).as_ref() == Ok(value)).then(|| option.name.to_owned()),
        // What XMRig reads a mere yes or no as.
        (_, Value::Bool(yes)) => match (option.name, yes) {
            ("--asm", false) => "none".to_owned(),
            ("--cpu-memory-pool", true) => "-1".to_owned(),
            ("--pause-on-active", true) => "60".to_owned(),
            _ => return None,
        },
        (Takes::Devices, Value::String(text)) => text.replace(' ', ""),
        (Takes::Number(..), Value::Number(number)) => number.to_string(),
        (Takes::Word(words), Value::String(text)) => {
            (*words.iter().find(|word| word.eq_ignore_ascii_case(text))?).to_owned()
        }
        _ => return None,
    };
    read(option, Some(&text)).ok()?;
    Some(format!("{}={text}", option.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(arguments: &[&str]) -> Result<Value, Invalid> {
        let mut config = json!({"cpu": {"enabled": true, "priority": null}, "randomx": {"wrmsr": false}});
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        apply(&arguments, &mut config).map(|()| config)
    }

    #[test]
    fn an_argument_becomes_a_key_and_leaves_its_neighbours() {
        let config = applied(&[
            "--cpu-priority=3",
            "--randomx-mode=light",
            "--donate-level=5",
            "--asm=none",
            "--cuda-devices=0,1",
            "--cpu-no-yield",
        ]);
        let expected = json!({
            "cpu": {"enabled": true, "priority": 3, "asm": false, "yield": false},
            "randomx": {"wrmsr": false, "mode": "light"},
            "donate-level": 5,
            "cuda": {"devices-hint": "0,1"},
        });
        assert_eq!(config, Ok(expected));
        assert_eq!(applied(&["--randomx-wrmsr=-1"]).unwrap()["randomx"]["wrmsr"], json!(false));
        assert_eq!(applied(&["--randomx-wrmsr=0"]).unwrap()["randomx"]["wrmsr"], json!(true));
        assert_eq!(applied(&["--randomx-wrmsr=6"]).unwrap()["randomx"]["wrmsr"], json!(6));
    }

    #[test]
    fn what_an_argument_writes_is_read_back_as_that_argument() {
        for option in &OPTIONS {
            let argument = match option.takes {
                Takes::Flag(_) => option.name.to_owned(),
                Takes::Number(_, most) => format!("{}={most}", option.name),
                Takes::Word(words) => format!("{}={}", option.name, words.last().unwrap()),
                Takes::Devices => format!("{}=0,1", option.name),
            };
            let mut config = applied(&[&argument]).unwrap();
            assert_eq!(take(&mut config), [argument]);
            assert_eq!(take(&mut config), Vec::<String>::new(), "{}", option.name);
        }
    }

    #[test]
    fn what_could_escape_or_confuse_is_refused() {
        for bad in [
            "--config=/etc/passwd",
            "-c",
            "--http-port=1",
            "--http-host=0.0.0.0",
            "--log-file=/tmp/x",
            "-l",
            "--background",
            "-B",
            "--cuda-loader=/tmp/evil.so",
            "--opencl-loader=/tmp/evil.so",
            "--socks5=evil:1",
            "-o",
            "--url=evil.example:1",
            "--donate-level=0",
            "--donate-level=6",
            "--donate-level=100",
            "--donate-level",
            "--cpu-priority=high",
            "--asm=",
            "--no-cpu=1",
            "--cuda-devices=0,,1",
            "--cuda-devices=$(x)",
            "plain",
            "--",
        ] {
            assert_eq!(applied(&[bad]).unwrap_err().field, "arguments[0]", "{bad}");
        }
        assert_eq!(applied(&["--no-cpu", "--no-cpu"]).unwrap_err().field, "arguments[1]");
        assert!(applied(&["-t"]).unwrap_err().why.contains("use threads"));
    }
}
