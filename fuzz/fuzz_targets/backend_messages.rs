//! A stream of bytes from a node: every view of what a backend says.
//!
//! Beyond not panicking: iterators yield exactly what was counted, and a message that a view accepts is written again, byte for
//! byte, where there is an encoder for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::backend::{self, Authentication};
use wire::error_response::ErrorFields;
use wire::{encode, frame, lsn};

fuzz_target!(|data: &[u8]| {
    if let Some(position) = lsn::Lsn::from_text(data) {
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(lsn::normalise(position, 8192, 16 << 20) <= position);
    }
    let mut rest = data;
    while let Ok(Some(header)) = frame::header(rest) {
        let Some((message, behind)) = rest.split_at_checked(header.total) else { return };
        let mut again = Vec::new();
        if read_login(message, &mut again) || read_result(message, &mut again) {
            assert_eq!(again, message);
        }
        read_others(message);
        rest = behind;
    }
});

/// Messages of the login; true if `again` holds the message as encoded by us.
fn read_login(message: &[u8], again: &mut Vec<u8>) -> bool {
    if let Ok(status) = backend::ParameterStatus::parse(message) {
        encode::parameter_status(again, status.name, status.value).unwrap();
    } else if let Ok(key) = backend::BackendKeyData::parse(message) {
        encode::backend_key_data(again, key.pid, key.key).unwrap();
    } else {
        match Authentication::parse(message) {
            Ok(Authentication::Ok) => encode::authentication_ok(again),
            Ok(Authentication::CleartextPassword) => encode::authentication_cleartext_password(again),
            Ok(Authentication::Md5Password { salt }) => encode::authentication_md5_password(again, salt),
            Ok(Authentication::SaslContinue(data)) => encode::authentication_sasl_continue(again, data).unwrap(),
            Ok(Authentication::SaslFinal(data)) => encode::authentication_sasl_final(again, data).unwrap(),
            Ok(Authentication::Sasl(mechanisms)) => {
                let Ok(names) = mechanisms.map(std::str::from_utf8).collect::<Result<Vec<_>, _>>() else { return false };
                encode::authentication_sasl(again, &names).unwrap();
            }
            Ok(Authentication::Other(_)) | Err(_) => return false,
        }
    }
    true
}

/// Messages of results; true if `again` holds the message as encoded by us.
fn read_result(message: &[u8], again: &mut Vec<u8>) -> bool {
    if let Ok(row) = backend::DataRow::parse(message) {
        let values: Vec<_> = row.values().collect();
        assert_eq!(values.len(), row.len());
        encode::data_row(again, &values).unwrap();
    } else if let Ok(types) = backend::ParameterDescription::parse(message) {
        encode::parameter_description(again, &types.type_oids().collect::<Vec<_>>()).unwrap();
    } else if let Ok(ready) = backend::ReadyForQuery::parse(message) {
        encode::ready_for_query(again, ready.status);
    } else {
        return false;
    }
    true
}

fn read_others(message: &[u8]) {
    if let Ok(row) = backend::RowDescription::parse(message) {
        assert_eq!(row.columns().count(), row.len());
    }
    if let Ok(version) = backend::NegotiateProtocolVersion::parse(message) {
        assert!(version.unsupported().count() <= message.len());
    }
    if let Ok(error) = ErrorFields::parse(message) {
        assert!(error.iter().map(|(_, text)| text.len() + 2).sum::<usize>() == message.len() - 6);
        let _ = (error.severity(), error.sqlstate(), error.message(), error.detail(), error.hint());
        let _ = (error.position(), error.context(), error.routine(), error.is_fatal());
    }
    let _ = backend::CommandComplete::parse(message);
    let _ = backend::NotificationResponse::parse(message);
}
