//! SHA-256, in lower-case hexadecimal digits.

use sha2::Digest as _;
use std::io::{self, Read, Write};

/// A SHA-256 sum that grows with what is written to it.
///
/// ```
/// use std::io::Write as _;
///
/// let mut sum = btc_files::Sha256::default();
/// sum.write_all(b"ab")?;
/// sum.update(b"c");
/// assert_eq!(sum.hex(), btc_files::sha256(b"abc"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// The sum of all bytes so far.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The sum of all bytes so far, in 64 hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}

impl Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The SHA-256 of bytes, in 64 hexadecimal digits.
///
/// ```
/// assert!(btc_files::sha256(b"").starts_with("e3b0c44298fc1c14"));
/// ```
#[must_use]
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    let mut sum = Sha256::default();
    sum.update(bytes);
    sum.hex()
}

/// Reads to the end; gives the number of bytes and their SHA-256.
///
/// # Errors
///
/// Fails if reading fails.
pub fn sha256_of(content: &mut impl Read) -> io::Result<(u64, String)> {
    let mut sum = Sha256::default();
    let bytes = io::copy(content, &mut sum)?;
    Ok((bytes, sum.hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_abc_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        assert_eq!(sha256_of(&mut &b"abc"[..]).unwrap(), (3, abc.to_owned()));
        let mut sum = Sha256::default();
        sum.update("abc");
        assert_eq!(sum.digest()[..2], [0xba, 0x78]);
    }
}
