//! Values that must not be seen: printed as `[redacted]`, compared in constant time, wiped when dropped.
//!
//! There is no `Display` and no serialisation. Looking inside takes a call named `expose`, which is easy to search for. Keeping
//! memory out of core dumps is the daemon's business.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or another secret text.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the caller's copy is the vector itself, so none is left behind.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for hashing or sending. Never for logs, errors or metrics.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Is the other the same? Takes the same time whatever they hold; it shows only whether the lengths differ.
    pub fn equals(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.equals(&other.0)
    }
}

impl Eq for Secret {}

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            /// Takes the 32 bytes over.
            pub fn new(key: [u8; 32]) -> Self {
                $name(Zeroizing::new(key))
            }

            /// The key, for computing with it. Never for logs, errors or metrics.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[redacted]")
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_slice().ct_eq(other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}
    )+ };
}

keys! {
    /// RFC 5802's ClientKey: whoever has it can log in as the user wherever the salt and iterations are the same.
    ClientKey;
    /// RFC 5802's StoredKey, the hash of the ClientKey: can verify the user, cannot log in as them.
    StoredKey;
    /// RFC 5802's ServerKey: proves to the user that the server knows them.
    ServerKey;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_as_redacted() {
        assert_eq!(
            format!("{:?} {:?}", Secret::new("hunter2"), ClientKey::new([7; 32])),
            "[redacted] [redacted]"
        );
    }

    #[test]
    fn secrets_compare_by_value() {
        assert!(
            Secret::new("a").equals(b"a")
                && !Secret::new("a").equals(b"b")
                && !Secret::new("a").equals(b"ab")
        );
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(ServerKey::new([0; 32]), ServerKey::new([1; 32]));
    }
}
