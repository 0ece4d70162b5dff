//! System calls that the kernel refuses to a race and to its trials, as a broken disk or a file system without
//! locks would (Linux: a seccomp filter, which needs no rights).

use crate::common::*;
use crate::damage::Halfway;
use nix::errno::Errno;
use nix::libc;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the kernel answer `calls` of `command` and its children with `error`.
fn refuse(command: &mut Command, calls: &[libc::c_long], error: Errno) {
    let statement = |code: u32, k: u32, jump: u8| libc::sock_filter {
        code: code as u16,
        jt: jump,
        jf: 0,
        k,
    };
    // The number of the call is the first word of what a filter sees.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    for (i, call) in calls.iter().enumerate() {
        filter.push(statement(equal, *call as u32, (calls.len() - i) as u8));
    }
    let give = libc::BPF_RET | libc::BPF_K;
    filter.push(statement(give, libc::SECCOMP_RET_ALLOW, 0));
    filter.push(statement(give, libc::SECCOMP_RET_ERRNO | error as u32, 0));
    let install = move || -> std::io::Result<()> {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
        // SAFETY: system calls alone; `program` and what it points to live until they return.
        #[allow(unsafe_code)]
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
                    &raw const program,
                ) == 0
        };
        match done {
            true => Ok(()),
            false => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: nothing is allocated and no lock is taken between fork and exec.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(install)
    };
}

/// Races on with calls that are refused: what the command says. Then races on without, and holds the records
/// against an undisturbed run's.
fn raced(made: &Halfway, calls: &[libc::c_long], error: Errno) -> String {
    let out = made.copy();
    let mut command = made.run(&out);
    refuse(&mut command, calls, error);
    let (_, err, code) = finish(&mut command);
    assert_eq!(code, 7, "{error}: {err}");
    succeed(&mut made.run(&out));
    assert_same(&made.straight, &out);
    err
}

#[test]
fn a_file_system_without_locks_is_refused_with_what_to_do() {
    let made = Halfway::new();
    for error in [Errno::ENOLCK, Errno::EOPNOTSUPP, Errno::ENOSYS] {
        let err = raced(&made, &[libc::SYS_flock], error);
        assert!(err.contains(".lock: cannot lock"), "{err}");
        assert!(err.contains("local disk"), "{err}");
    }
    // Nothing is begun in a new folder.
    let out = made.dir.path().join("new");
    let mut command = made.run(&out);
    refuse(&mut command, &[libc::SYS_flock], Errno::ENOLCK);
    assert_eq!(finish(&mut command).2, 7);
    let left: Vec<_> = files(&out).into_keys().collect();
    assert_eq!(left, [out.join(".lock")]);
    // Reading needs no lock.
    for action in ["score", "report"] {
        let mut command = velodrome();
        command.arg(action).arg(&made.straight);
        refuse(&mut command, &[libc::SYS_flock], Errno::ENOLCK);
        succeed(&mut command);
    }
}

#[test]
fn a_broken_disk_is_named() {
    let made = Halfway::new();
    let sync = [libc::SYS_fsync, libc::SYS_fdatasync];
    assert!(raced(&made, &sync, Errno::EIO).contains("run.json: cannot write"));
    #[cfg(target_arch = "x86_64")]
    let (rename, remove, create) = (
        [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2],
        [libc::SYS_unlink, libc::SYS_unlinkat],
        [libc::SYS_mkdir, libc::SYS_mkdirat],
    );
    #[cfg(target_arch = "aarch64")]
    let (rename, remove, create) = (
        [libc::SYS_renameat, libc::SYS_renameat2],
        [libc::SYS_unlinkat],
        [libc::SYS_mkdirat],
    );
    assert!(raced(&made, &rename, Errno::ENOSPC).contains("run.json: cannot write"));
    assert!(raced(&made, &[libc::SYS_ftruncate], Errno::EIO).contains(".lock: cannot write"));
    // The record is written before the checkpoint goes.
    assert!(raced(&made, &remove, Errno::EROFS).contains("checkpoint: cannot remove"));
    assert!(raced(&made, &create, Errno::ENOSPC).contains("cannot create"));
}
