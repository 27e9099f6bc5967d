//! Where messages end, however the network cuts them.

use super::frame as framed;
use crate::frame::{self, FrameError, HEADER_LEN, Header, tag};
use proptest::prelude::*;

/// Cuts `stream` into messages as a reader does that gets it in the given pieces.
fn read_in_pieces(stream: &[u8], pieces: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
    let (mut buf, mut messages, mut at) = (Vec::new(), Vec::new(), 0_usize);
    for &piece in pieces.iter().chain(&[usize::MAX]) {
        let end = at.saturating_add(piece).min(stream.len());
        buf.extend_from_slice(&stream[at..end]);
        at = end;
        while let Some(header) = frame::header(&buf)? {
            if buf.len() < header.total {
                break;
            }
            messages.push(buf.drain(..header.total).collect());
        }
    }
    Ok(messages)
}

proptest! {
    #[test]
    fn a_stream_gives_the_same_messages_however_it_is_cut(
        messages in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        pieces in proptest::collection::vec(0_usize..20, 0..40),
    ) {
        let messages: Vec<_> = messages.iter().map(|(tag, body)| framed(*tag, body)).collect();
        let stream = messages.concat();
        prop_assert_eq!(read_in_pieces(&stream, &pieces).unwrap(), messages.clone());
        prop_assert_eq!(read_in_pieces(&stream, &vec![1; stream.len()]).unwrap(), messages.clone());
        for cut in 0..=stream.len() {
            prop_assert_eq!(&read_in_pieces(&stream, &[cut]).unwrap(), &messages);
        }
    }

    #[test]
    fn any_five_bytes_are_a_header_or_an_error_and_fewer_are_not_enough(bytes in any::<[u8; 9]>(), len in 0_usize..9) {
        let result = frame::header(&bytes[..len]);
        let declared = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        match result {
            Ok(None) => prop_assert!(len < HEADER_LEN),
            Ok(Some(header)) => {
                prop_assert_eq!(header, Header { tag: bytes[0], total: declared as usize + 1 });
                prop_assert!((4..=0x3fff_ffff).contains(&declared));
            }
            Err(_) => prop_assert!(!(4..=0x3fff_ffff).contains(&declared)),
        }
        if let Ok(Some(header)) = result {
            let _ = frame::check_client_tag(header, 1 << 28);
            let _ = frame::check_login_tag(header, 1 << 16);
        }
    }
}

#[test]
fn lengths_at_the_edges_are_read_or_refused() {
    let header = |declared: u32| frame::header(&[&b"Q"[..], &declared.to_be_bytes()].concat());
    for declared in [4, 5, 1 << 15, (1 << 16) - 1, 1 << 16, 0x3fff_ffff] {
        assert_eq!(header(declared), Ok(Some(Header { tag: b'Q', total: declared as usize + 1 })));
    }
    for declared in [0, 1, 2, 3] {
        assert_eq!(header(declared), Err(FrameError::TooShort { tag: b'Q', declared }));
    }
    for declared in [0x4000_0000, i32::MAX as u32, 1 << 31, u32::MAX] {
        assert!(matches!(header(declared), Err(FrameError::TooLong { .. })));
    }
}

#[test]
fn every_tag_a_client_may_send_has_its_limit_and_no_other_is_let_in() {
    const MAX: usize = 20_000;
    for tag in 0..=u8::MAX {
        let longest = (0..=MAX + 1).rev().find(|&declared| {
            declared >= 4 && frame::check_client_tag(Header { tag, total: declared + 1 }, MAX).is_ok()
        });
        let expected = match tag {
            b'Q' | b'P' | b'B' | b'd' | b'F' => Some(MAX),
            b'D' | b'E' | b'C' | b'f' => Some(10_000),
            b'S' | b'H' | b'X' | b'c' => Some(4),
            _ => None,
        };
        assert_eq!(longest, expected, "tag {}", tag as char);
    }
}

#[test]
fn only_a_password_message_is_let_in_during_login() {
    let header = |tag, declared: usize| Header { tag, total: declared + 1 };
    assert_eq!(frame::check_login_tag(header(b'p', 1024), 1024), Ok(()));
    assert!(matches!(frame::check_login_tag(header(b'p', 1025), 1024), Err(FrameError::TooLong { .. })));
    assert_eq!(frame::check_login_tag(header(b'Q', 5), 1024), Err(FrameError::UnknownTag(b'Q')));
    assert_eq!(frame::check_client_tag(header(b'p', 5), 1024), Err(FrameError::UnknownTag(b'p')));
}

#[test]
fn errors_say_what_is_wrong_without_printing_raw_bytes() {
    let text = FrameError::UnknownTag(0x1b).to_string();
    assert_eq!(text, "unexpected message of type 0x1b");
    assert_eq!(
        FrameError::NotEmpty { tag: tag::client::SYNC }.to_string(),
        "a message of type 'S' must be empty and is not"
    );
}
