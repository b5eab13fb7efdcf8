//! Hostile files. Each is refused with one line, in bounded time and memory. A process of its own reads each file, and says what that took.

#![cfg(target_os = "linux")]

use std::{env, error::Error, fs, process::Command};

use emr_core::{Authorship, Disclosure, Record, fhir};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The longest error in characters.
const LONGEST_LINE: usize = 300;
/// What reading a file may take of the processor, in milliseconds.
const TIME: u64 = 5_000;
/// The variable that tells a child which file to read.
const CHILD: &str = "EMR_TEST_HOSTILE_FILE";

/// A file, who reads it, and how much memory that may take besides the file, in MiB.
struct Case {
    name: &'static str,
    file: fn() -> Vec<u8>,
    reader: Reader,
    memory: u64,
}

/// Returns the error.
type Reader = fn(&[u8]) -> Option<String>;

fn import(file: &[u8]) -> Option<String> {
    let error = fhir::import(file).err()?;
    assert_eq!(fhir::validate(file), Err(error.clone()), "both refuse the same files");
    Some(error.to_string())
}

fn record(file: &[u8]) -> Option<String> {
    Record::from_dag_cbor(file).err().map(|error| error.to_string())
}

fn disclosure(file: &[u8]) -> Option<String> {
    Disclosure::from_dag_cbor(file).err().map(|error| error.to_string())
}

fn authorship(file: &[u8]) -> Option<String> {
    Authorship::from_dag_cbor(file).err().map(|error| error.to_string())
}

/// A FHIR document with this text after the resource's type.
fn basic(rest: &str) -> Vec<u8> {
    format!("{{\"resourceType\":\"Basic\",{rest}").into_bytes()
}

/// A text in DAG-CBOR of at most 255 bytes.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let head = if length < 24 { vec![0x60 | length] } else { vec![0x78, length] };
    [&head, text.as_bytes()].concat()
}

/// A record up to the list of fields.
fn record_with(fields: &[u8]) -> Vec<u8> {
    [&[0xa2], &text("type")[..], &text("emr/record/v1"), &text("fields"), fields].concat()
}

/// A record with one field `a` of this value.
fn value(value: &[u8]) -> Vec<u8> {
    record_with(&[&[0x81, 0x82, 0x61, b'a'], value].concat())
}

/// A disclosure of one leaf, from its proof or fields on.
fn disclosure_with(fields_and_proof: &[u8]) -> Vec<u8> {
    [&[0xa4], &text("type")[..], &text("emr/disclosure/v1"), &text("count"), &[1], fields_and_proof].concat()
}

const MIB: usize = 1 << 20;

#[rustfmt::skip]
const CASES: &[Case] = &[
    // JSON.
    Case { name: "objects in objects, ten thousand levels", file: || basic(&"\"a\":{".repeat(10_000)), reader: import, memory: 8 },
    Case { name: "objects in arrays, a million levels", file: || basic(&"\"a\":[{".repeat(1_000_000)), reader: import, memory: 8 },
    Case { name: "arrays, ten thousand levels", file: || basic(&format!("\"a\":{}", "[".repeat(10_000))), reader: import, memory: 8 },
    Case { name: "a number of sixty million digits", file: || basic(&format!("\"a\":{}}}", "7".repeat(60 * MIB))), reader: import, memory: 8 },
    Case { name: "an exponent of sixty million digits", file: || basic(&format!("\"a\":1e{}}}", "7".repeat(60 * MIB))), reader: import, memory: 8 },
    Case { name: "more bytes than a document may have", file: || vec![b' '; fhir::MAX_BYTES + 1], reader: import, memory: 8 },
    Case { name: "a member twice", file: || basic("\"a\":1,\"b\":2,\"a\":3}"), reader: import, memory: 8 },
    Case { name: "a member twice, once with an escape", file: || basic("\"a\":1,\"\\u0061\":3}"), reader: import, memory: 8 },
    Case { name: "not UTF-8", file: || [&basic("\"a\":\"")[..], b"\xff\"}"].concat(), reader: import, memory: 8 },
    Case { name: "overlong UTF-8", file: || [&basic("\"a\":\"")[..], b"\xc0\x80\"}"].concat(), reader: import, memory: 8 },
    Case { name: "a surrogate in UTF-8", file: || [&basic("\"a\":\"")[..], b"\xed\xa0\x80\"}"].concat(), reader: import, memory: 8 },
    Case { name: "half a surrogate pair", file: || basic("\"a\":\"\\ud800\"}"), reader: import, memory: 8 },
    Case { name: "the other half first", file: || basic("\"a\":\"\\udc00\\ud800\"}"), reader: import, memory: 8 },
    Case { name: "a first half, and a letter", file: || basic("\"a\":\"\\ud800\\u0061\"}"), reader: import, memory: 8 },
    Case { name: "an escape cut short", file: || basic("\"a\":\"\\u00"), reader: import, memory: 8 },
    Case { name: "a control character in a text", file: || basic("\"a\":\"\u{1b}[2J\"}"), reader: import, memory: 8 },
    Case { name: "more members than an element has", file: || {
        let members: Vec<String> = (0..600).map(|i| format!("\"a{i}\":1")).collect();
        basic(&format!("{}}}", members.join(",")))
    }, reader: import, memory: 8 },
    Case { name: "a name of a million letters", file: || basic(&format!("\"{}\":1}}", "a".repeat(MIB))), reader: import, memory: 8 },
    Case { name: "a name of control characters", file: || basic("\"\\u001b[2J\":1}"), reader: import, memory: 8 },
    Case { name: "a million empty objects", file: || basic(&format!("\"a\":[{}{{}}]}}", "{},".repeat(1_000_000))), reader: import, memory: 8 },
    Case { name: "a million objects of one member", file: || basic(&format!("\"a\":[{}{{\"b\":1}}]}}", "{\"b\":1},".repeat(1_000_000))), reader: import, memory: 200 },
    Case { name: "half a million numbers under a long name", file: || basic(&format!("\"{}\":[{}1]}}", "a".repeat(1000), "1,".repeat(500_000))), reader: import, memory: 320 },
    Case { name: "a resource of a hostile type", file: || b"{\"resourceType\":\"\\u001b[2J\\u202e\\n\\u0007Patient\"}".to_vec(), reader: import, memory: 8 },
    Case { name: "a resource of a type of a million letters", file: || format!("{{\"resourceType\":\"{}\"}}", "P".repeat(MIB)).into_bytes(), reader: import, memory: 8 },
    Case { name: "ten million brackets", file: || vec![b'['; 10 * MIB], reader: import, memory: 8 },
    Case { name: "sixty million spaces", file: || vec![b' '; 60 * MIB], reader: import, memory: 8 },
    // DAG-CBOR.
    Case { name: "a list of 2^63 fields", file: || record_with(b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"), reader: record, memory: 8 },
    Case { name: "a list of 2^64 - 1 fields", file: || record_with(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), reader: record, memory: 8 },
    Case { name: "bytes of 2^62", file: || value(b"\x5b\x40\0\0\0\0\0\0\0"), reader: record, memory: 8 },
    Case { name: "text of 2^64 - 1", file: || value(b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"), reader: record, memory: 8 },
    Case { name: "a map of 2^32", file: || value(b"\xba\xff\xff\xff\xff"), reader: record, memory: 8 },
    Case { name: "a byte string of 4 GiB with few bytes", file: || value(&[&b"\x5a\xff\xff\xff\xff"[..], &[7; 1000]].concat()), reader: record, memory: 8 },
    Case { name: "lists in lists, a million levels", file: || value(&vec![0x81; MIB]), reader: record, memory: 8 },
    Case { name: "maps in maps, a million levels", file: || value(&b"\xa1\x61a".repeat(MIB)), reader: record, memory: 8 },
    Case { name: "tags on tags, a million levels", file: || value(&vec![0xc6; MIB]), reader: record, memory: 8 },
    Case { name: "lists that nobody expects, a million levels", file: || [&[0xa1], &text("x")[..], &vec![0x81; MIB]].concat(), reader: record, memory: 8 },
    Case { name: "a number in more bytes than it needs", file: || value(b"\x18\x01"), reader: record, memory: 8 },
    Case { name: "a length in more bytes than it needs", file: || value(b"\x78\x01a"), reader: record, memory: 8 },
    Case { name: "an endless list", file: || record_with(b"\x9f\xff"), reader: record, memory: 8 },
    Case { name: "an endless map", file: || value(b"\xbf\xff"), reader: record, memory: 8 },
    Case { name: "endless bytes", file: || value(b"\x5f\x41a\xff"), reader: record, memory: 8 },
    Case { name: "endless text", file: || value(b"\x7f\x61a\xff"), reader: record, memory: 8 },
    Case { name: "an end without a beginning", file: || value(b"\xff"), reader: record, memory: 8 },
    Case { name: "a float", file: || value(b"\xfb\x3f\xf8\0\0\0\0\0\0"), reader: record, memory: 8 },
    Case { name: "a part of a record twice", file: || [&[0xa3], &text("type")[..], &text("emr/record/v1"), &text("fields"), &[0x80], &text("fields"), &[0x80]].concat(), reader: record, memory: 8 },
    Case { name: "a part with a hostile name", file: || [&[0xa1], &text("\u{1b}[2J\n\u{202e}")[..], &[0x80]].concat(), reader: record, memory: 8 },
    Case { name: "a value of a hostile type", file: || value(&[&[0xa1], &text("\u{1b}[2J\n")[..], &[1]].concat()), reader: record, memory: 8 },
    Case { name: "a hostile decimal", file: || value(&[&[0xa1], &text("decimal")[..], &text("\u{1b}[2J\n")].concat()), reader: record, memory: 8 },
    Case { name: "a hostile key", file: || record_with(&[&[0x81, 0x82], &text("a\u{1b}\n")[..], &[1]].concat()), reader: record, memory: 8 },
    Case { name: "a key of a million letters", file: || record_with(&[&[0x81, 0x82, 0x7a, 0, 0x10, 0, 0], &vec![b'a'; MIB][..], &[1]].concat()), reader: record, memory: 8 },
    Case { name: "a link of a million bytes", file: || value(&[&[0xd8, 0x2a, 0x5a, 0, 0x10, 0, 0], &vec![0; MIB][..]].concat()), reader: record, memory: 8 },
    Case { name: "a key twice, a million times", file: || record_with(&[&[0x9a, 0, 0x10, 0, 0], &b"\x82\x61a\xf6".repeat(MIB)[..]].concat()), reader: record, memory: 8 },
    Case { name: "more fields than a record has", file: || {
        let fields = (0..=Record::MAX_FIELDS).flat_map(|i| [&b"\x82\x67"[..], format!("a{i:06}").as_bytes(), &[0xf6]].concat());
        record_with(&[&[0x9a, 0, 0x08, 0, 0x01][..], &fields.collect::<Vec<u8>>()].concat())
    }, reader: record, memory: 200 },
    Case { name: "more bytes than a record has", file: || vec![0xa2; Record::MAX_BYTES + 1], reader: record, memory: 8 },
    Case { name: "nothing", file: Vec::new, reader: record, memory: 8 },
    Case { name: "a disclosure of 2^63 fields", file: || disclosure_with(&[&text("proof")[..], &[0x40], &text("fields"), b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"].concat()), reader: disclosure, memory: 8 },
    Case { name: "a proof of 2^40 bytes", file: || disclosure_with(&[&text("proof")[..], b"\x5b\0\0\x01\0\0\0\0\0"].concat()), reader: disclosure, memory: 8 },
    Case { name: "half a node of a proof", file: || disclosure_with(&[&text("proof")[..], &[0x50], &[0; 16], &text("fields"), &[0x80]].concat()), reader: disclosure, memory: 8 },
    Case { name: "a disclosure of lists, a million levels", file: || disclosure_with(&[&text("proof")[..], &vec![0x81; MIB]].concat()), reader: disclosure, memory: 8 },
    Case { name: "an authorship of lists", file: || vec![0x81; 1024], reader: authorship, memory: 8 },
    Case { name: "an authorship of a hostile part", file: || [&[0xa1], &text("\u{1b}[2J\n")[..], &[0]].concat(), reader: authorship, memory: 8 },
    Case { name: "an authorship of a million bytes", file: || vec![0; MIB], reader: authorship, memory: 8 },
];

/// A number in kB of `/proc/self/status`.
fn memory(what: &str) -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such line")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
}

/// What the processor worked for this thread so far, in milliseconds.
fn worked() -> Outcome<u64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(times.split(' ').next().ok_or("no time")?.parse::<u64>()? / 1_000_000)
}

/// Reads the file, and prints what it took: milliseconds, kB, error.
fn child(case: &Case) -> Outcome {
    let file = (case.file)();
    // Sets the peak back to what is in use now (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5")?;
    let (before, start) = (memory("VmRSS")?, worked()?);
    let error = (case.reader)(&file).ok_or("accepted")?;
    let (time, peak) = (worked()? - start, memory("VmHWM")?.saturating_sub(before));
    println!("\nread\t{time}\t{peak}\t{}", error.escape_debug());
    Ok(())
}

#[test]
fn each_is_refused_with_one_line_in_bounded_time_and_memory() -> Outcome {
    if let Ok(number) = env::var(CHILD) {
        return child(CASES.get(number.parse::<usize>()?).ok_or("no such file")?);
    }
    for (number, case) in CASES.iter().enumerate() {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--exact", "each_is_refused_with_one_line_in_bounded_time_and_memory", "--nocapture"]);
        let output = command.env(CHILD, number.to_string()).output()?;
        let out = String::from_utf8(output.stdout)?;
        let said = out.lines().find_map(|line| line.strip_prefix("read\t"));
        let said = said.ok_or_else(|| format!("{}: {out}{}", case.name, String::from_utf8_lossy(&output.stderr)))?;
        let [time, memory, line] = said.splitn(3, '\t').collect::<Vec<_>>()[..] else { return Err(said.into()) };
        let name = case.name;
        assert!(time.parse::<u64>()? <= TIME, "{name}: {time} ms");
        assert!(memory.parse::<u64>()? <= case.memory * 1024, "{name}: {memory} kB");
        // Escaped again, a backslash is two characters. A line break or another control character would be escaped once.
        let line = line.replace("\\\\", "/").replace("\\'", "'").replace("\\\"", "\"");
        assert!(!line.is_empty() && !line.contains('\\'), "{name}: {line}");
        assert!(line.chars().count() <= LONGEST_LINE, "{name}: {line}");
    }
    Ok(())
}

/// The measurement notices memory, time and bad lines. Otherwise the test above proves nothing.
#[test]
fn the_measurement_can_fail() -> Outcome {
    let before = memory("VmRSS")?;
    let filled = std::hint::black_box(vec![1_u8; 64 * MIB]);
    assert!(memory("VmHWM")? >= before + 60 * 1024, "{}", filled.len());
    let start = worked()?;
    let sum = (0..u64::from(u32::MAX / 4)).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n));
    assert!(worked()? > start, "{sum}");
    Ok(())
}
