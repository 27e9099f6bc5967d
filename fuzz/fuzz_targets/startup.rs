//! The first bytes of a connection, from anybody: the first packet, the parameters and the `options` in it.
//!
//! Beyond not panicking: a packet cut short is incomplete or already an error, never another packet; what was read can be written and
//! read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::startup::{self, Initial, StartupParameters};

fuzz_target!(|data: &[u8]| {
    if let Ok(options) = std::str::from_utf8(data) {
        check_options(options);
    }
    let whole = startup::initial(data);
    for cut in [0, 1, 3, 4, 7, 8, data.len() / 2, data.len().saturating_sub(1)] {
        let prefix = data.get(..cut).unwrap_or(data);
        if let Ok(Some((_, len))) = startup::initial(prefix) {
            assert!(len <= prefix.len());
            assert!(matches!(whole, Ok(Some((_, whole_len))) if whole_len == len));
        }
    }
    match whole {
        Ok(Some((Initial::Startup(parameters), len))) => {
            assert!((startup::PACKET_LEN_MIN..=startup::PACKET_LEN_MAX).contains(&len));
            check_parameters(&parameters);
        }
        Ok(Some((Initial::Cancel { pid, key }, len))) => {
            let mut again = Vec::new();
            startup::encode_cancel_request(&mut again, pid, key).unwrap();
            assert_eq!(again, data[..len]);
        }
        Ok(Some((Initial::Ssl | Initial::GssEnc, len))) => assert_eq!(len, 8),
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn check_parameters(parameters: &StartupParameters<'_>) {
    assert!(!parameters.user().is_empty() && !parameters.database().is_empty());
    let pairs: Vec<_> = parameters.iter().collect();
    assert!(pairs.len() <= startup::PAIRS_MAX);
    assert!(parameters.unsupported_options().count() <= pairs.len());
    if let Some(options) = parameters.get("options") {
        check_options(options);
    }
    let mut again = Vec::new();
    startup::encode_startup(&mut again, &pairs).unwrap();
    match startup::initial(&again) {
        Ok(Some((Initial::Startup(read), len))) => {
            assert!(len == again.len() && read.iter().eq(pairs));
        }
        other => panic!("{other:?}"),
    }
}

fn check_options(options: &str) {
    if let Ok(settings) = startup::parse_options(options) {
        assert!(settings.len() <= startup::OPTIONS_MAX);
        assert!(settings.iter().all(|(name, _)| !name.is_empty() && !name.contains('=')));
    }
}
