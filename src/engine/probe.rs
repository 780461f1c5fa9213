//! Whether this process may use io_uring.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// Size of `struct io_uring_params` (linux/io_uring.h).
const PARAMS_LEN: usize = 120;

/// Asks the kernel for a small ring and gives it back.
///
/// # Errors
/// The kernel's own: `EPERM` from a seccomp profile or the `io_uring_disabled` sysctl, `ENOSYS` from a kernel
/// without it, `ENOMEM` where `RLIMIT_MEMLOCK` is too small (kernels before 5.12).
pub fn probe_io_uring() -> io::Result<()> {
    let mut params = [0u8; PARAMS_LEN];
    // SAFETY: io_uring_setup(2) writes at most PARAMS_LEN bytes at the pointer, which lives until it returns.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8u32, params.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a result that is not negative is a new descriptor, owned by nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(result as i32) });
    Ok(())
}
