//! Verifiers made by PostgreSQL, and what is not one.

use super::*;

/// `SELECT rolpassword FROM pg_authid` on PostgreSQL 15.20, for these passwords.
const MADE_BY_POSTGRESQL: &[(&str, &str)] = &[
    (
        "secret",
        "SCRAM-SHA-256$4096:pmu5tZMRX6Gl6OwyhLszSw==$tFm1yo5PFBzAbAtpqB+wSjXJsYUeQqmtG6hbNyZ42Zw=:1qJvWSyjw4fX0spPBERo8TLmz6BkhZJ0N4b4hGekXy8=",
    ),
    // SASLprep turns the ordinal into "a" and the Roman numeral into "IX".
    (
        "p\u{e4}ss\u{aa}w\u{2168}rd",
        "SCRAM-SHA-256$4096:+il4/eC02PByI5O173mf6w==$oAJlBrjaavwyj44Vx+8F43lkU6/6JQmCvdagBewk+rI=:CMf6UcqcBBxm16Mydg0/aJHCyURvvD1aF1RmGlhOkhs=",
    ),
    // A control character is prohibited: the password stays as it is.
    (
        "a\u{7}b\u{aa}",
        "SCRAM-SHA-256$4096:F2hSE7jvc8Z+513jQNripA==$sFKPgT4bb91i5dg9D0hCVCwBxBgxDCpdFjMA1iL/2vg=:8DDnY293b23Mx/wPnc1yYnW3gRrKqumYCNZnzT8hiBs=",
    ),
    // Arabic that ends with a Latin digit: prohibited too.
    (
        "\u{627}1",
        "SCRAM-SHA-256$4096:NSHDwZBqGPA0sheSFhBWUg==$kz6BemhRBumr7hJ0cj3oGZwrAbrHMemr25PIDSKU9bQ=:b+4JIcAJxF6/f9FGpOCRseReAW05nGiPD2zI66tta9w=",
    ),
    // Nothing would be left of a lone soft hyphen.
    (
        "\u{ad}",
        "SCRAM-SHA-256$4096:VlRCnFAkvi/haVkaxkP18A==$Ric3i6ztl8iY8rRugaDrquqL6gzq8719uAkm0L5kgm4=:1r9CIIsXktQIgulYLOBKqy2+AGhTK15byqq40WsTp2A=",
    ),
    // Unassigned in the Unicode 3.2 that SASLprep is bound to.
    (
        "\u{1f980} crab",
        "SCRAM-SHA-256$4096:vRTdZlM+sNs/O9V+2Hw0KQ==$hz75fwViKWmCxC1bl9uZmsO1vMEV9j6TjYq3ZtvOKyo=:zPsl4hpe3cmf6+gdrOhXGHLoIbnYH/9oHo88vWnhVyw=",
    ),
];

#[test]
fn verifiers_made_by_postgresql_accept_their_passwords_and_no_other() {
    for (password, text) in MADE_BY_POSTGRESQL {
        let verifier = ScramVerifier::parse(text).unwrap();
        assert!(verifier.accepts(password.as_bytes()), "{password:?}");
        assert!(!verifier.accepts(b"Secret"), "{password:?}");
    }
}

#[test]
fn a_verifier_prints_as_it_was_read_and_is_made_again_from_password_and_salt() {
    for (password, text) in MADE_BY_POSTGRESQL {
        let verifier = ScramVerifier::parse(text).unwrap();
        assert_eq!(verifier.to_secret().expose(), text.as_bytes());
        assert_eq!(verifier.iterations(), ITERATIONS_DEFAULT);
        let made = ScramVerifier::from_password(password.as_bytes(), verifier.salt(), verifier.iterations());
        assert_eq!(made, verifier, "{password:?}");
    }
}

#[test]
fn the_forms_of_a_stored_secret_are_told_apart() {
    let (_, scram) = MADE_BY_POSTGRESQL[0];
    assert!(matches!(StoredSecret::parse(scram), Ok(StoredSecret::Scram(_))));
    assert!(matches!(StoredSecret::parse("md54a0a68b43b6cd5cf266fa02f196e2371"), Ok(StoredSecret::Md5(_))));
    for plain in
        ["", "secret", "md5", "md54A0A68B43B6CD5CF266FA02F196E2371", "SCRAM-SHA-256", "scram-sha-256$"]
    {
        assert_eq!(StoredSecret::parse(plain), Ok(StoredSecret::Plain(Secret::new(plain))), "{plain:?}");
    }
}

#[test]
fn a_damaged_verifier_is_an_error_and_never_a_password() {
    let (_, good) = MADE_BY_POSTGRESQL[0];
    let bad = [
        good.replace("4096", "0"),
        good.replace("4096", "100001"),
        good.replace("4096", "4294967297"),
        good.replace("4096", "+1"),
        good.replace("4096", ""),
        good.replace("pmu5tZMRX6Gl6OwyhLszSw==", ""),
        good.replace("pmu5tZMRX6Gl6OwyhLszSw==", "pmu5tZMRX6Gl6OwyhLszSw"),
        good.replace("tFm1yo5P", "tFm1"),
        good.replace("Xy8=", "Xy9="),
        format!("{good}:"),
        format!("{good} "),
        good[..good.len() - 1].to_owned(),
        good[.."SCRAM-SHA-256$".len()].to_owned(),
    ];
    for text in bad {
        assert_eq!(StoredSecret::parse(&text), Err(ParseVerifierError), "{text}");
    }
}

#[test]
fn a_verifier_does_not_show_in_debug_output() {
    for (_, text) in MADE_BY_POSTGRESQL {
        let shown = format!("{:?} {:?}", ScramVerifier::parse(text), StoredSecret::parse("hunter2"));
        assert!(
            shown.contains("[redacted]") && !shown.contains("4096") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
