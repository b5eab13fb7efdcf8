//! Randomness, always from the operating system.

use rand::rngs::SysRng;
use rand_core::{Rng, UnwrapErr};
use zeroize::Zeroizing;

/// The operating system's generator. It panics if the system has none, because such a machine cannot make keys.
pub(crate) fn system() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// `N` random bytes that need not stay secret: salts and nonces.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    system().fill_bytes(&mut bytes);
    bytes
}

/// `N` random bytes that stay secret. Erased when dropped.
pub(crate) fn secret<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    system().fill_bytes(&mut *bytes);
    bytes
}
