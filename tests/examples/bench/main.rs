//! The benchmarks: what capture costs a writer, what sources cost the worker, and how long a
//! commit takes to reach a client, each beside the thing that people use instead.
//!
//! Started by `bench/run`. It prints ratios of measurements taken by turns in one run; absolute
//! numbers stand beside them for the reader and mean little on another machine.

mod capture;
mod latency;
mod sources;
mod table;

use table::Table;

type Measure = fn() -> Table;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all: [(&str, Measure); 3] = [
        ("capture", capture::measure),
        ("latency", latency::measure),
        ("sources", sources::measure),
    ];
    for name in &wanted {
        assert!(all.iter().any(|(known, _)| known == name), "no benchmark is called {name:?}");
    }
    for (name, measure) in all {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            measure().print();
        }
    }
}
