//! `guard RENDER [--record]`: counts instructions per event and compares them with the recorded ones, or
//! records them. RENDER is the built example `render`.

use std::process::ExitCode;

use event_source_bench::guard::record::{Record, Verdict, Versions};
use event_source_bench::guard::{Count, backend, plain};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the counts are what it is for")]
fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let render = words.next().expect("the path of the example is given");
    let records = words.next().is_some_and(|word| word == "--record");

    let counts = backend::count();
    let mut guarded = counts.guarded;
    let plain = plain::count(&render).into_iter();
    guarded.extend(plain.map(|Count { name, instructions }| {
        let group = if matches!(name.as_str(), "decode" | "net") { "log read" } else { "render" };
        Count::new(format!("{group}: {name}"), instructions)
    }));
    let record = Record { made_with: Versions::look(), instructions_per_event: guarded };
    let kept = Record::kept();
    println!("{}", record.table(kept.as_ref()));
    println!("beside it, not compared:");
    for Count { name, instructions } in counts.beside {
        println!("{name:<44}{instructions:>12.0}");
    }
    if records {
        record.keep();
        eprintln!("\nrecorded in bench/guard.json");
        return ExitCode::SUCCESS;
    }
    match kept.as_ref().map(|kept| record.verdict(kept)) {
        None => eprintln!("\nnothing is recorded: make bench-guard RECORD=1"),
        Some(Verdict::Same) => eprintln!("\nwithin 3 % of what is recorded"),
        Some(Verdict::Incomparable(what)) => eprintln!("\nnothing is compared: {what}"),
        Some(Verdict::Different(names)) => {
            eprintln!(
                "\nmore than 3 % from what is recorded: {}\nwhere: bench/guard.sh annotate; if that is \
                 right: make bench-guard RECORD=1, and say why in the commit",
                names.join(", ")
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
