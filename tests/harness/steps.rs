//! A process that is killed at a step of the test's choice: right before its n-th system call that something outside of
//! it could notice. So a test can go through all moments at which a crash makes a difference, and meet each of them.
//!
//! Works by ptrace(2), on a child or as root.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::processes::kill;

/// What leaves the process: bytes for files and sockets, names in directories, signals, children and threads.
const STEPS: &[libc::c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_connect,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_kill,
    libc::SYS_mkdirat,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pwrite64,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// `op` of `PTRACE_GET_SYSCALL_INFO` (ptrace(2)) for a thread that is about to make its call.
const ENTRY: u8 = libc::PTRACE_SYSCALL_INFO_ENTRY;

/// A process under watch, until it is killed, by this or by anybody.
#[derive(Debug)]
pub struct Trap {
    tracer: JoinHandle<()>,
    sprung: Arc<AtomicBool>,
}

impl Trap {
    /// Kills the process before its `step`-th step from now on, counted from 1.
    ///
    /// Until it is dead nobody may ask the system whether it is: the answer could be what the watch waits for.
    ///
    /// # Panics
    /// When the process cannot be watched.
    #[must_use]
    pub fn set(pid: i32, step: usize) -> Self {
        let sprung = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = sync_channel(1);
        let tracer = thread::spawn({
            let sprung = Arc::clone(&sprung);
            // The system takes stops and orders of a watched process for this one thread alone.
            move || {
                seize_all(pid);
                ready.send(()).expect("the test waits");
                watch(pid, step, &sprung);
            }
        });
        is_ready.recv().expect("the process can be watched");
        Self { tracer, sprung }
    }

    /// Whether the step came, and the process was killed before it.
    #[must_use]
    pub fn is_sprung(&self) -> bool {
        self.sprung.load(Ordering::SeqCst)
    }

    /// Waits until the watch is over, once the process is dead; says whether the step came.
    ///
    /// # Panics
    /// When the watch met what it does not know.
    pub fn gone(self) -> bool {
        self.tracer.join().expect("the watch ends");
        self.sprung.load(Ordering::SeqCst)
    }
}

/// Takes every thread there is; those to come are taken as they come.
fn seize_all(pid: i32) {
    let mut seized = Vec::new();
    loop {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten();
        let tasks = tasks.filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
        let new: Vec<i32> = tasks.filter(|task| !seized.contains(task)).collect();
        if new.is_empty() {
            return;
        }
        for task in new {
            let thread = Pid::from_raw(task);
            match ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE) {
                Ok(()) => ptrace::interrupt(thread).expect("it is ours"),
                // Ended meanwhile, or begun by a thread that was ours already.
                Err(Errno::ESRCH | Errno::EPERM) => {}
                Err(error) => panic!("the process cannot be watched: {error}"),
            }
            seized.push(task);
        }
    }
}

fn watch(pid: i32, step: usize, sprung: &AtomicBool) {
    let mut steps = 0;
    loop {
        let (thread, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                if is_step(pid, thread) {
                    steps += 1;
                }
                if steps == step {
                    sprung.store(true, Ordering::SeqCst);
                    // A call that stands at its entry is not made any more. What is held is let go as this thread ends.
                    kill(pid);
                    return;
                }
                (thread, None)
            }
            Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
            Ok(WaitStatus::PtraceEvent(thread, _, _)) => (thread, None),
            Ok(_) => continue,
            Err(Errno::ECHILD) => return,
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("the process cannot be waited for: {error}"),
        };
        match ptrace::syscall(thread, signal.filter(|signal| *signal != Signal::SIGTRAP)) {
            // Killed meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("the process cannot be let go on: {error}"),
        }
    }
}

/// Whether the thread is about to do what something outside could notice.
fn is_step(pid: i32, thread: Pid) -> bool {
    let Ok(info) = ptrace::syscall_info(thread) else { return false };
    let Ok(registers) = ptrace::getregs(thread) else { return false };
    #[cfg(target_arch = "x86_64")]
    let (call, first) = (registers.orig_rax, registers.rdi);
    #[cfg(target_arch = "aarch64")]
    let (call, first) = (registers.regs[8], registers.regs[0]);
    let is_write = i64::try_from(call) == Ok(libc::SYS_write);
    info.op == ENTRY
        && STEPS.iter().any(|known| i64::try_from(call) == Ok(*known))
        // By which the process only wakes itself.
        && !(is_write && fs::read_link(format!("/proc/{pid}/fd/{first}")).is_ok_and(|to| to.ends_with("anon_inode:[eventfd]")))
}
