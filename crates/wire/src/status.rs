//! Transaction status: the byte inside every ReadyForQuery, and what decides whether a backend may be given back.
//!
//! Only the three states exist; that a status is not known yet is for the holder to say (`Option<TransactionStatus>`).

/// Whether a transaction block is open, as a backend (or Highwater in its place) reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: no transaction block is open.
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a transaction block that failed; everything but ROLLBACK is refused.
    Failed,
}

impl TransactionStatus {
    /// The status that `byte` stands for, if it stands for one.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(TransactionStatus::Idle),
            b'T' => Some(TransactionStatus::InTransaction),
            b'E' => Some(TransactionStatus::Failed),
            _ => None,
        }
    }

    /// The byte that stands for this status.
    #[inline]
    pub const fn to_byte(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_status_only_if_it_prints_back() {
        for byte in 0..=u8::MAX {
            match TransactionStatus::from_byte(byte) {
                Some(status) => assert_eq!(status.to_byte(), byte),
                None => assert!(!b"ITE".contains(&byte)),
            }
        }
    }
}
