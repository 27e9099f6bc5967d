//! Promises of the crate as a whole: round trips, totality, the shapes of published vulnerabilities.

mod framing;
mod hostile;
mod round_trip;
mod startup;

use crate::{backend, error_response, frontend};

/// A frame with a tag and a body, whatever they are.
pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Every view of the crate tries to read `frame`; returns how many could. Reads all that the views promise, too.
pub(crate) fn read_with_every_view(frame: &[u8]) -> usize {
    let client = [
        frontend::Query::parse(frame).is_ok(),
        frontend::Parse::parse(frame).map(|parse| parse.type_oids().count()).is_ok(),
        frontend::Bind::parse(frame).map(|bind| (bind.validate(), bind.parameter_count())).is_ok(),
        frontend::Describe::parse(frame).is_ok(),
        frontend::Close::parse(frame).is_ok(),
        frontend::Execute::parse(frame).is_ok(),
        frontend::CopyFail::parse(frame).is_ok(),
        frontend::Password::parse(frame).is_ok(),
        frontend::SaslInitialResponse::parse(frame).is_ok(),
        frontend::SaslResponse::parse(frame).is_ok(),
    ];
    let backend = [
        backend::Authentication::parse(frame).map(all_mechanisms).is_ok(),
        backend::ParameterStatus::parse(frame).is_ok(),
        backend::BackendKeyData::parse(frame).is_ok(),
        backend::ReadyForQuery::parse(frame).is_ok(),
        backend::CommandComplete::parse(frame).is_ok(),
        backend::RowDescription::parse(frame).map(|row| assert_eq!(row.columns().count(), row.len())).is_ok(),
        backend::DataRow::parse(frame).map(|row| assert_eq!(row.values().count(), row.len())).is_ok(),
        backend::ParameterDescription::parse(frame).map(|types| types.type_oids().count()).is_ok(),
        backend::NotificationResponse::parse(frame).is_ok(),
        backend::NegotiateProtocolVersion::parse(frame).map(|version| version.unsupported().count()).is_ok(),
        error_response::ErrorFields::parse(frame).map(|error| error.iter().count()).is_ok(),
    ];
    client.into_iter().chain(backend).filter(|&ok| ok).count()
}

fn all_mechanisms(authentication: backend::Authentication<'_>) -> usize {
    match authentication {
        backend::Authentication::Sasl(mechanisms) => mechanisms.count(),
        _ => 0,
    }
}
