//! The system calls of [`super::calls`] as filters of seccomp.
//!
//! Two of them, since one filter knows two answers: the first ends the process at a call that no part of the server makes,
//! the second answers everything that is not listed with ENOSYS, as a kernel that does not have it. An error that is
//! meant to say "not allowed" would be the end of what could go on: libraries try what a newer kernel offers and fall
//! back on what they know, as glibc does from `clone3` to `clone`, when the answer is ENOSYS and only then.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};

use super::calls::{self, Own};

/// Installs both, for all threads that there are and will be: an allocator may have started its own.
pub(super) fn install(own: Own) -> Result<(), Error> {
    let arch = TargetArch::try_from(ARCH)?;
    let (deadly, left) = (deadly(arch)?, left(arch, own)?);
    // In this order: the second leaves no call that could install the first.
    apply_filter_all_threads(&deadly)?;
    apply_filter_all_threads(&left)
}

/// Ends the process, with all its threads and at once.
fn deadly(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls::DEADLY.iter().map(|&call| (call, Vec::new())).collect();
    rules.extend([calls::new_process()?]);
    let (other, listed) = (SeccompAction::Allow, SeccompAction::KillProcess);
    SeccompFilter::new(rules, other, listed, arch)?.try_into()
}

/// Allows what is listed.
fn left(arch: TargetArch, own: Own) -> Result<BpfProgram, BackendError> {
    let mut rules = calls::when(own)?;
    rules.extend(calls::ALWAYS.iter().map(|&call| (call, Vec::new())));
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, missing, SeccompAction::Allow, arch)?.try_into()
}
