//! `bench/run [--quick] [NAME ..]`: measures works and writes down what they found.

use event_source_bench::machine::Machine;
use event_source_bench::results::Record;
use event_source_bench::work::{Run, Work};
use event_source_bench::{clusters, report, works};

/// In the order of the report.
const WORKS: &[Work] = &[
    Work { name: "writers", title: "What writers wait", measure: works::writers::measure },
    Work { name: "writer_cpu", title: "CPU for a change", measure: works::writer_cpu::measure },
    Work { name: "bulk", title: "Many rows in one statement", measure: works::bulk::measure },
    Work { name: "bytes", title: "What is written for a change", measure: works::bytes::measure },
    Work { name: "latency", title: "Commit to client", measure: works::latency::measure },
    Work { name: "catch_up", title: "Catching up", measure: works::catch_up::measure },
    Work { name: "sparse", title: "A source of little", measure: works::sparse::measure },
    Work { name: "growth", title: "A log that grows", measure: works::growth::measure },
    Work {
        name: "first_event",
        title: "First events and polls",
        measure: works::first_event::measure,
    },
    Work { name: "sources", title: "Many sources on one table", measure: works::sources::measure },
    Work { name: "fanout", title: "Fan-out", measure: works::fanout::measure },
    Work {
        name: "fanout_latency",
        title: "Fan-out latency",
        measure: works::fanout_latency::measure,
    },
    Work {
        name: "shared_frames",
        title: "Events that arrive together",
        measure: works::shared_frames::measure,
    },
    Work { name: "idle_memory", title: "Memory of streams", measure: works::idle_memory::measure },
    Work { name: "opening", title: "Opening a stream", measure: works::opening::measure },
];

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the results are what it is for")]
fn main() {
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted == ["--list"] {
        for Work { name, title, .. } in WORKS {
            println!("{name:<16}{title}");
        }
        return;
    }
    let all = wanted.len();
    wanted.retain(|word| word != "--quick");
    let quick = wanted.len() < all;
    for name in &wanted {
        assert!(WORKS.iter().any(|work| work.name == name), "no benchmark is called {name:?}");
    }
    let run = Run { quick, machine: Machine::look() };
    for Work { name, title, measure } in WORKS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            eprintln!("{name}");
            let start = std::time::Instant::now();
            let outcome = measure(&run);
            eprintln!("  took {:.0} s", start.elapsed().as_secs_f64());
            let (work, title, machine) =
                ((*name).to_owned(), (*title).to_owned(), run.machine.clone());
            let record = Record { work, title, quick, machine, outcome };
            println!("{}", report::section(&record));
            record.keep();
        }
    }
    clusters::clean();
    report::write(&WORKS.iter().filter_map(|work| Record::last(work.name)).collect::<Vec<_>>());
}
