//! New key pairs: the shape that clients expect, from the system's random source.

use rand::{TryRngCore, rngs::OsRng};

/// RFC 4648, section 6: no 0, 1, 8, 9, which look like letters.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648, section 5: safe in URLs and file names.
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `AKIA` and 16 base-32 characters, 80 random bits.
///
/// # Errors
/// The system has no random numbers to give.
pub fn access_key() -> std::io::Result<String> {
    Ok(format!("AKIA{}", spell(BASE32, &random::<16>()?)))
}

/// 40 URL-safe characters, 240 random bits.
///
/// # Errors
/// The system has no random numbers to give.
pub fn secret_key() -> std::io::Result<String> {
    Ok(spell(URL_SAFE, &random::<40>()?))
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// One character for each byte. The alphabets' sizes divide 256, so that every character is equally likely.
fn spell<const N: usize>(alphabet: &[u8; N], bytes: &[u8]) -> String {
    const { assert!(256 % N == 0) }
    bytes.iter().filter_map(|byte| alphabet.get(usize::from(*byte) % N)).map(|it| char::from(*it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_shape_of_key_pairs() {
        let (access, secret) = (access_key().unwrap(), secret_key().unwrap());
        assert_eq!((access.len(), secret.len()), (20, 40));
        assert!(access.starts_with("AKIA") && access.bytes().all(|it| BASE32.contains(&it)), "{access}");
        assert!(secret.bytes().all(|it| URL_SAFE.contains(&it)), "{secret}");
        assert_ne!(secret, secret_key().unwrap());
    }

    #[test]
    fn every_character_is_used_equally() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = spell(BASE32, &bytes);
        assert!(BASE32.iter().all(|it| text.bytes().filter(|byte| byte == it).count() == 8));
    }
}
