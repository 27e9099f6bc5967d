//! A stream of bytes from a client that has logged in: frames, and the views of what a client says.
//!
//! Beyond not panicking: a message that a view accepts is written again, byte for byte, by its encoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{encode, frame, frontend};

const MESSAGE_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some(header)) = frame::header(rest) {
        assert!((5..=1 << 30).contains(&header.total));
        let allowed = frame::check_client_tag(header, MESSAGE_MAX).is_ok();
        let _ = frame::check_login_tag(header, MESSAGE_MAX);
        let Some((message, behind)) = rest.split_at_checked(header.total) else { return };
        read(message, allowed);
        rest = behind;
    }
});

fn read(message: &[u8], allowed: bool) {
    let mut again = Vec::new();
    if let Ok(query) = frontend::Query::parse(message) {
        if let Ok(text) = std::str::from_utf8(query.text) {
            encode::query(&mut again, text).unwrap();
        } else {
            again.extend_from_slice(message);
        }
    } else if let Ok(parse) = frontend::Parse::parse(message) {
        assert_eq!(parse.type_oids().count() * 4 + 2, parse.parameter_types.len());
        encode::parse(&mut again, parse.name, parse.query, parse.parameter_types).unwrap();
    } else if let Ok(bind) = frontend::Bind::parse(message) {
        assert_eq!(&message[bind.rest_offset..], bind.rest);
        if bind.validate().is_ok() {
            assert!(bind.parameter_count().is_some());
        }
        encode::bind_with_statement(&mut again, bind.portal, bind.statement, bind.rest).unwrap();
    } else if let Ok(describe) = frontend::Describe::parse(message) {
        encode::describe(&mut again, describe.kind, describe.name).unwrap();
    } else if let Ok(close) = frontend::Close::parse(message) {
        encode::close(&mut again, close.kind, close.name).unwrap();
    } else if let Ok(execute) = frontend::Execute::parse(message) {
        encode::execute(&mut again, execute.portal, execute.max_rows).unwrap();
    } else if frontend::SaslResponse::parse(message).is_ok() {
        read_login(message);
        return;
    } else {
        let _ = frontend::CopyFail::parse(message);
        return;
    }
    assert!(allowed || message.len() > frame::SMALL_LEN_MAX);
    assert_eq!(again, message);
}

fn read_login(message: &[u8]) {
    let mut again = Vec::new();
    if let Ok(password) = frontend::Password::parse(message) {
        encode::password(&mut again, password.secret).unwrap();
        assert_eq!(again, message);
    }
    again.clear();
    if let Ok(initial) = frontend::SaslInitialResponse::parse(message) {
        if let (Ok(mechanism), Some(data)) = (std::str::from_utf8(initial.mechanism), initial.data) {
            encode::sasl_initial_response(&mut again, mechanism, data).unwrap();
            assert_eq!(again, message);
        }
    }
}
