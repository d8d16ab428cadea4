//! The sandbox, from within: everything that it forbids is tried in it, each in a process of its own.
//!
//! A test starts this program again with the name of an attempt. There it is made twice over: free, where it has to
//! succeed, so that a refusal in the sandbox says something, and in the sandbox.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]
#![allow(clippy::print_stdout, reason = "how an attempt tells the test what came of it")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Error, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use event_source_server::sandbox::{self, InForce};
use libc::c_long;

const ATTEMPT: &str = "SANDBOX_ATTEMPT";
const FREE: &str = "SANDBOX_FREE";
/// What an attempt may use: a folder that both sides know.
const FOLDER: &str = "SANDBOX_FOLDER";
/// No kernel has as many calls; those of the last years are numbered alike everywhere.
const NUMBERS: std::ops::Range<i64> = 0..600;
/// `uretprobe` and `uprobe` of x86_64: the kernel does not ask the filter about them, and ends whoever calls them from
/// anywhere but its own trampoline.
const NOT_ASKED: &[i64] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

/// How an attempt has to end in the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An error.
    Refused,
    /// SIGSYS.
    Killed,
}

use End::{Killed, Refused};

/// What is tried, with what it needs from before the sandbox.
type Try = fn() -> Box<dyn FnOnce() -> io::Result<()>>;

const ATTEMPTS: &[(&str, End, Try)] = &[
    ("open a file", Refused, || Box::new(|| File::open("/proc/self/maps").map(drop))),
    ("open the program itself", Refused, || {
        let program = std::env::current_exe().unwrap();
        Box::new(|| File::open(program).map(drop))
    }),
    ("open a file in a thread that was there before", Refused, || {
        let (go, goes) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            goes.recv().unwrap();
            File::open("/proc/self/maps").map(drop)
        });
        Box::new(move || {
            go.send(()).unwrap();
            thread.join().unwrap()
        })
    }),
    ("make a file", Refused, || Box::new(|| File::create(folder().join("made")).map(drop))),
    ("remove a file", Refused, || {
        let path = folder().join(format!("removed-{}", std::process::id()));
        File::create(&path).unwrap();
        Box::new(|| fs::remove_file(path))
    }),
    ("look at a file", Refused, || Box::new(|| fs::metadata("/etc/passwd").map(drop))),
    ("list a folder", Refused, || Box::new(|| fs::read_dir("/").map(drop))),
    ("follow a link", Refused, || Box::new(|| fs::read_link("/proc/self/exe").map(drop))),
    ("connect over TCP", Refused, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Box::new(move || TcpStream::connect(listener.local_addr()?).map(drop))
    }),
    ("connect to a Unix socket", Refused, || {
        let path = folder().join(format!("socket-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        Box::new(move || {
            let _open = listener;
            UnixStream::connect(path).map(drop)
        })
    }),
    ("listen", Refused, || Box::new(|| TcpListener::bind("127.0.0.1:0").map(drop))),
    ("make a datagram socket", Refused, || Box::new(|| UdpSocket::bind("127.0.0.1:0").map(drop))),
    ("make a pair of sockets", Refused, || Box::new(|| UnixStream::pair().map(drop))),
    ("make a pipe", Refused, || Box::new(|| io::pipe().map(drop))),
    ("connect a listening socket by sending", Refused, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        call(libc::SYS_shutdown, [listener.as_raw_fd().into(), libc::SHUT_RDWR.into()]).unwrap();
        Box::new(move || send_first(&listener, &target))
    }),
    ("end the log", Refused, || {
        Box::new(|| match call(libc::SYS_shutdown, [2, libc::SHUT_RDWR.into()]) {
            // It is no socket here.
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => Ok(()),
            tried => tried,
        })
    }),
    ("start a program", Killed, || {
        Box::new(|| Command::new("/bin/true").stdin(Stdio::inherit()).status().map(drop))
    }),
    ("fork", Killed, || {
        Box::new(|| {
            let child = c_long::from(libc::SIGCHLD);
            if raw(libc::SYS_clone, [child, 0, 0, 0]) == 0 {
                std::process::abort();
            }
            Ok(())
        })
    }),
    ("signal the parent", Refused, || {
        Box::new(|| call(libc::SYS_kill, [std::os::unix::process::parent_id().into(), 0, 0, 0]))
    }),
    ("signal a thread of the parent", Refused, || {
        let parent = std::os::unix::process::parent_id().into();
        Box::new(move || call(libc::SYS_tgkill, [parent, parent, 0, 0]))
    }),
    ("trace the parent", Killed, || {
        let (seize, parent) = (0x4206, std::os::unix::process::parent_id().into());
        Box::new(move || {
            // Free it may be refused for other reasons, but not as a call that is not there.
            match call(libc::SYS_ptrace, [seize, parent, 0, 0]) {
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
                tried => tried,
            }
        })
    }),
    ("make code of memory", Refused, || {
        Box::new(|| {
            let (code, own) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
            let flags = own | libc::MAP_ANONYMOUS;
            let memory = raw(libc::SYS_mmap, [0, 4096, code.into(), flags.into()]);
            if memory == -1 { Err(Error::last_os_error()) } else { Ok(()) }
        })
    }),
    ("share the log's flags anew", Refused, || {
        Box::new(|| call(libc::SYS_fcntl, [2, libc::F_SETFL.into(), libc::O_NONBLOCK.into(), 0]))
    }),
    ("have the log not wait", Refused, || {
        // Not on a descriptor that the test's own output comes from.
        let on = Box::leak(Box::new(0));
        let on = std::ptr::from_mut::<i32>(on) as c_long;
        Box::new(move || call(libc::SYS_ioctl, [2, libc::FIONBIO as c_long, on, 0]))
    }),
    ("copy the log's descriptor", Refused, || {
        Box::new(|| call(libc::SYS_fcntl, [2, libc::F_DUPFD_CLOEXEC.into(), 3, 0]))
    }),
    ("ask to be told by signals", Refused, || {
        let door = UnixStream::pair().unwrap();
        Box::new(move || {
            let fd = door.0.as_raw_fd().into();
            call(libc::SYS_fcntl, [fd, libc::F_SETOWN.into(), 1, 0])
        })
    }),
    ("load a filter onto a connection", Refused, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Box::new(move || {
            let one = Box::leak(Box::new([1u32; 4]));
            let one = one.as_ptr() as c_long;
            let option = libc::SO_MARK.into();
            let arguments = [listener.as_raw_fd().into(), libc::SOL_SOCKET.into(), option, one, 4];
            match call(libc::SYS_setsockopt, arguments) {
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
                tried => tried,
            }
        })
    }),
    ("give new rights to what it starts", Refused, || {
        Box::new(|| call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0]))
    }),
    ("raise a limit", Refused, || {
        let none = Box::leak(Box::new([0u64; 2]));
        let none = none.as_mut_ptr() as c_long;
        Box::new(move || call(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE.into(), 0, none]))
    }),
];

/// An attempt, or another part of a test, in a process of its own.
#[test]
#[ignore = "the other tests start it"]
fn attempt() {
    let name = std::env::var(ATTEMPT).expect("the other tests start it");
    let tried = match name.as_str() {
        "live" => return live(),
        "overflow" => return overflow(),
        "every number" => return every_number(),
        number if number.parse::<i64>().is_ok() => {
            let number = number.parse().unwrap();
            lock_in();
            call(number, [0; 4])
        }
        name => {
            let (_, _, attempt) = ATTEMPTS.iter().find(|(n, ..)| *n == name).expect("listed");
            let attempt = attempt();
            if std::env::var_os(FREE).is_none() {
                lock_in();
            }
            attempt()
        }
    };
    println!("tried: {tried:?}");
}

fn lock_in() {
    assert_eq!(sandbox::enter(&[]), InForce { landlock: true, seccomp: true });
}

fn start(name: &str, free: bool) -> Output {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "attempt", "--ignored", "--nocapture"]).env(ATTEMPT, name);
    command.env(FOLDER, folder).env("RUST_BACKTRACE", "full");
    if free {
        command.env(FREE, "yes");
    }
    command.output().unwrap()
}

fn folder() -> PathBuf {
    let given = std::env::var_os(FOLDER).map(PathBuf::from);
    given.unwrap_or_else(|| {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-{}", std::process::id()))
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn everything_that_is_forbidden_is_refused_and_only_there() {
    for (name, end, _) in ATTEMPTS {
        let free = start(name, true);
        assert!(said(&free).contains("tried: Ok"), "free: {name}: {}", said(&free));
        let held = start(name, false);
        match end {
            Refused => {
                assert!(said(&held).contains("tried: Err"), "{name}: {}", said(&held));
            }
            Killed => {
                assert_eq!(held.status.signal(), Some(libc::SIGSYS), "{name}: {}", said(&held));
            }
        }
    }
    fs::remove_dir_all(folder()).unwrap();
}

#[test]
fn no_call_is_left_but_those_that_are_listed() {
    let output = start("every number", false);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("refused: "), "{}", said(&output));
    fs::remove_dir_all(folder()).unwrap();
}

/// In the sandbox: each call that is not listed is as one that this kernel does not have.
fn every_number() {
    let listed = sandbox::when(sandbox::own(&[])).unwrap();
    lock_in();
    let mut refused = 0;
    for number in NUMBERS {
        let is_left = sandbox::ALWAYS.contains(&number) || listed.contains_key(&number);
        if is_left || sandbox::DEADLY.contains(&number) || NOT_ASKED.contains(&number) {
            continue;
        }
        let error = call(number, [0; 4]).expect_err("it is not listed").raw_os_error();
        assert_eq!(error, Some(libc::ENOSYS), "{number}");
        refused += 1;
    }
    println!("refused: {refused}");
}

#[test]
fn a_call_that_only_an_attacker_makes_ends_the_process() {
    for call in sandbox::DEADLY {
        let output = start(&call.to_string(), false);
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{call}: {}", said(&output));
    }
    fs::remove_dir_all(folder()).unwrap();
}

#[test]
fn a_program_lives_on_in_the_sandbox_and_its_panics_are_heard() {
    let output = start("live", false);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("a panic in the sandbox"), "{}", said(&output));
    let output = start("overflow", false);
    assert!(said(&output).contains("overflowed its stack"), "{}", said(&output));
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", said(&output));
    fs::remove_dir_all(folder()).unwrap();
}

/// In the sandbox: threads, memory, time, chance, panics, a runtime, and connections that come in.
fn live() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    lock_in();
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.set_nodelay(true).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    accepted.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hello");
    let threads: Vec<_> = (0..50)
        .map(|number| {
            thread::Builder::new().name(format!("thread {number}")).spawn(move || {
                let memory = vec![number; 4 << 20];
                let map: HashMap<_, _> = [(number, memory)].into();
                thread::park_timeout(Duration::from_millis(1));
                map[&number].iter().map(|&n| n as u64).sum::<u64>()
            })
        })
        .collect();
    for (number, thread) in (0u64..).zip(threads) {
        assert_eq!(thread.unwrap().join().unwrap(), number << 22);
    }
    let panicked = thread::spawn(|| panic!("a panic in the sandbox")).join();
    assert!(panicked.is_err());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let blocking = tokio::task::spawn_blocking(|| 7);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(blocking.await.unwrap(), 7);
    });
}

/// In the sandbox: a thread that runs out of stack.
#[expect(unconditional_recursion, reason = "it is the subject")]
fn overflow() {
    #[inline(never)]
    fn deeper(at: &mut [u8; 4096]) -> u8 {
        let mut next = [at[0].wrapping_add(1); 4096];
        deeper(&mut next).wrapping_add(next[17])
    }
    lock_in();
    let ended = thread::spawn(|| deeper(&mut [0; 4096])).join();
    println!("it is over: {ended:?}");
}

/// Connects a socket that listened by sending its first byte (TCP fast open), with no call of `connect`.
fn send_first(listened: &TcpListener, target: &TcpListener) -> io::Result<()> {
    let port = target.local_addr()?.port().to_be_bytes();
    let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
    let head = [family[0], family[1], port[0], port[1], 127, 0, 0, 1];
    let address: [u8; 16] = std::array::from_fn(|at| head.get(at).copied().unwrap_or(0));
    let (fd, flag) = (listened.as_raw_fd().into(), libc::MSG_FASTOPEN.into());
    let (byte, address) = (head.as_ptr() as c_long, address.as_ptr() as c_long);
    call(libc::SYS_sendto, [fd, byte, 1, flag, address, 16])?;
    target.accept().map(drop)
}

/// A system call by its number.
fn call<const N: usize>(number: i64, arguments: [c_long; N]) -> io::Result<()> {
    if raw(number, arguments) == -1 { Err(Error::last_os_error()) } else { Ok(()) }
}

fn raw<const N: usize>(number: i64, arguments: [c_long; N]) -> c_long {
    let at = |at: usize| arguments.get(at).copied().unwrap_or(0);
    // The one way to ask for what no safe interface offers, which is what a sandbox is for.
    // SAFETY: the pointers among the arguments are of memory that lives; what is not listed in the sandbox is
    // refused by its number, and a process that dies of what is tried here is one that was made for it.
    unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) }
}
