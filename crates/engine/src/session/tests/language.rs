//! The words of a transcript: messages as a person writes them.

use wire::backend as from_backend;
use wire::encode::{self, Column, ErrorReply, Severity};
use wire::error_response::ErrorFields;
use wire::frame::{self, tag};
use wire::frontend::{self, DescribeKind};
use wire::sqlstate::SqlState;
use wire::status::TransactionStatus;

/// Splits `words "with quotes"` at blanks.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![];
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('"') {
            let end = after.find('"').expect("a closing quote");
            words.push(after[..end].to_owned());
            rest = after[end + 1..].trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let word = &rest[..end];
            words.push(if word == "-" { String::new() } else { word.to_owned() });
            rest = rest[end..].trim_start();
        }
    }
    words
}

fn kind(word: &str) -> DescribeKind {
    if word == "S" { DescribeKind::Statement } else { DescribeKind::Portal }
}

/// The bytes of a client's messages, separated by `; `.
pub(super) fn client(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for message in text.split("; ") {
        let w = words(message);
        let arg = |i: usize| w.get(i).map_or("", String::as_str);
        match arg(0) {
            "Query" => encode::query(&mut out, arg(1)).expect("fits"),
            "Parse" => encode::parse(&mut out, arg(1).as_bytes(), arg(2).as_bytes(), &[]).expect("fits"),
            "Bind" => {
                let rest = [0, 0, 0, 0, 0, 0];
                encode::bind_with_statement(&mut out, arg(1).as_bytes(), arg(2).as_bytes(), &rest)
                    .expect("fits");
            }
            "Describe" => encode::describe(&mut out, kind(arg(1)), arg(2).as_bytes()).expect("fits"),
            "Close" => encode::close(&mut out, kind(arg(1)), arg(2).as_bytes()).expect("fits"),
            "Execute" => encode::execute(&mut out, arg(1).as_bytes(), 0).expect("fits"),
            "Sync" => encode::sync(&mut out),
            "Flush" => encode::flush(&mut out),
            "CopyDone" => encode::copy_done(&mut out),
            "CopyData" => raw(&mut out, b'd', arg(1).as_bytes()),
            "FunctionCall" => {
                let oid: u32 = arg(1).parse().expect("a function's number");
                raw(&mut out, b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat());
            }
            "Terminate" => encode::terminate(&mut out),
            other => panic!("no client message {other}"),
        }
    }
    out
}

fn raw(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&u32::try_from(body.len() + 4).expect("short").to_be_bytes());
    out.extend_from_slice(body);
}

fn status(word: &str) -> TransactionStatus {
    TransactionStatus::from_byte(word.as_bytes()[0]).expect("I, T or E")
}

/// The bytes of a backend's messages, separated by `; `.
pub(super) fn backend(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for message in text.split("; ") {
        let w = words(message);
        let arg = |i: usize| w.get(i).map_or("", String::as_str);
        let error = |severity| ErrorReply {
            severity,
            sqlstate: sqlstate(arg(1)),
            message: "as told",
            detail: None,
            hint: None,
        };
        match arg(0) {
            "ParseComplete" => encode::parse_complete(&mut out),
            "BindComplete" => encode::bind_complete(&mut out),
            "CloseComplete" => encode::close_complete(&mut out),
            "NoData" => encode::no_data(&mut out),
            "EmptyQuery" => encode::empty_query(&mut out),
            "PortalSuspended" => encode::portal_suspended(&mut out),
            "ParameterDescription" => encode::parameter_description(&mut out, &[]).expect("fits"),
            "RowDescription" => {
                encode::row_description(&mut out, &[Column { name: "a", type_oid: 25, format: 0 }])
                    .expect("fits");
            }
            "DataRow" => encode::data_row(&mut out, &[Some(arg(1).as_bytes())]).expect("fits"),
            "CommandComplete" => encode::command_complete(&mut out, &w[1..].join(" ")),
            "Ready" => encode::ready_for_query(&mut out, status(arg(1))),
            "Error" => encode::error_response(&mut out, &error(Severity::Error)),
            "Fatal" => encode::error_response(&mut out, &error(Severity::Fatal)),
            "Notice" => encode::notice_response(&mut out, &error(Severity::Notice)),
            "ParameterStatus" => {
                encode::parameter_status(&mut out, arg(1).as_bytes(), arg(2).as_bytes()).expect("fits")
            }
            "FunctionResult" => raw(&mut out, tag::backend::FUNCTION_CALL_RESPONSE, &[0xff; 4]),
            "CopyIn" => raw(&mut out, tag::backend::COPY_IN, &[0, 0, 0]),
            "CopyOut" => raw(&mut out, tag::backend::COPY_OUT, &[0, 0, 0]),
            "CopyData" => raw(&mut out, tag::backend::COPY_DATA, arg(1).as_bytes()),
            "CopyDone" => raw(&mut out, tag::backend::COPY_DONE, &[]),
            other => panic!("no backend message {other}"),
        }
    }
    out
}

fn sqlstate(code: &str) -> SqlState {
    let named = SqlState::NAMED.iter().find(|s| s.to_string() == code);
    *named.unwrap_or_else(|| panic!("no SQLSTATE {code}"))
}

fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(bytes).into_owned() }
}

fn letter(kind: DescribeKind) -> char {
    char::from(kind.to_byte())
}

/// Cuts bytes into frames; what is not a whole frame comes last.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = vec![];
    let mut at = 0;
    while at < bytes.len() {
        let total = frame::header(&bytes[at..]).ok().flatten().map_or(bytes.len() - at, |h| h.total);
        let end = (at + total).min(bytes.len());
        frames.push(&bytes[at..end]);
        at = end;
    }
    frames
}

/// Is this not a whole message?
fn is_part(frame: &[u8]) -> bool {
    frame::header(frame).ok().flatten().is_none_or(|header| header.total > frame.len())
}

/// What went to the backend, as a person would write it.
pub(super) fn show_client(bytes: &[u8]) -> String {
    let shown = frames(bytes).into_iter().map(|f| match f[0] {
        _ if is_part(f) => format!("{} bytes", f.len()),
        b'Q' => {
            format!("Query \"{}\"", text(frontend::Query::parse(f).expect("a Query").text).replace('\n', " "))
        }
        b'P' => {
            let p = frontend::Parse::parse(f).expect("a Parse");
            format!("Parse {} \"{}\"", text(p.name), text(p.query))
        }
        b'B' => {
            let b = frontend::Bind::parse(f).expect("a Bind");
            format!("Bind {} {}", text(b.portal), text(b.statement))
        }
        b'D' => {
            let d = frontend::Describe::parse(f).expect("a Describe");
            format!("Describe {} {}", letter(d.kind), text(d.name))
        }
        b'C' => {
            let c = frontend::Close::parse(f).expect("a Close");
            format!("Close {} {}", letter(c.kind), text(c.name))
        }
        b'E' => format!("Execute {}", text(frontend::Execute::parse(f).expect("an Execute").portal)),
        b'S' => "Sync".to_owned(),
        b'H' => "Flush".to_owned(),
        b'd' => format!("CopyData \"{}\"", text(&f[5..])),
        b'c' => "CopyDone".to_owned(),
        other => format!("message {}", char::from(other)),
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// What went to the client, as a person would write it.
pub(super) fn show_backend(bytes: &[u8]) -> String {
    let shown = frames(bytes).into_iter().map(|f| match f[0] {
        _ if is_part(f) => format!("{} bytes", f.len()),
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'n' => "NoData".to_owned(),
        b'I' => "EmptyQuery".to_owned(),
        b's' => "PortalSuspended".to_owned(),
        b't' => "ParameterDescription".to_owned(),
        b'T' => "RowDescription".to_owned(),
        b'D' => {
            let row = from_backend::DataRow::parse(f).expect("a DataRow");
            let values = row.values().map(|v| v.map_or("NULL".to_owned(), text));
            format!("DataRow {}", values.collect::<Vec<_>>().join(","))
        }
        b'C' => {
            format!("CommandComplete {}", text(from_backend::CommandComplete::parse(f).expect("one").tag))
        }
        b'Z' => format!("Ready {}", char::from(f[5])),
        b'E' => {
            let fields = ErrorFields::parse(f).expect("an error");
            let code = fields.sqlstate().map_or(String::new(), |s| s.to_string());
            let word = if fields.is_fatal() { "Fatal" } else { "Error" };
            format!("{word} {code} \"{}\"", fields.message().unwrap_or_default())
        }
        b'N' => "Notice".to_owned(),
        b'S' => "ParameterStatus".to_owned(),
        b'G' => "CopyIn".to_owned(),
        b'H' => "CopyOut".to_owned(),
        b'd' => format!("CopyData \"{}\"", text(&f[5..])),
        b'c' => "CopyDone".to_owned(),
        other => format!("message {}", char::from(other)),
    });
    shown.collect::<Vec<_>>().join("; ")
}
