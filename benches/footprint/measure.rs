//! `make bench`: all figures of the subject and of its peer, as a table and as JSON. The two
//! alternate in each run.

use std::path::Path;

use crate::driver::Driver;
use crate::figure::Figure;
use crate::settings::Settings;
use crate::sidecar::{Binary, Sidecar};
use crate::table::Table;
use crate::{Result, crowd, idle, limit, load, machine, number, proc, progress, report, work};

/// How often a run starts each program; the median counts.
const STARTS: u32 = 11;

/// How many probes each client makes where many do at once.
const BUSY: u32 = 100;

struct Bench<'a> {
    settings: &'a Settings,
    binaries: Vec<Binary>,
    socket: &'a Path,
    table: Table,
}

/// Measures, prints the table, and writes the file.
pub fn run() -> Result<()> {
    let settings = Settings::read()?;
    crowd::raise_descriptor_limit()?;
    let driver = match &settings.csi_socket {
        Some(socket) => Driver::running(socket)?,
        None => Driver::start(&settings.common.driver)?,
    };
    let mut binaries = vec![Binary {
        name: "this".to_owned(),
        path: settings.common.binary.clone(),
    }];
    if let Some((path, name)) = &settings.peer {
        binaries.push(Binary {
            name: name.clone(),
            path: path.clone(),
        });
    }
    let mut machine = machine::facts();
    machine.push(("load at the start", machine::load()));
    let mut bench = Bench {
        settings: &settings,
        binaries,
        socket: &driver.socket,
        table: Table::default(),
    };
    bench.files()?;
    bench.runs()?;
    bench.growth()?;
    bench.limits()?;
    machine.push(("at the end", machine::load()));
    let report = report::Report {
        machine,
        driver: &driver.description,
        settings: &settings,
        binaries: &bench.binaries,
        table: &bench.table,
    };
    print!("{}", report.markdown());
    report.write(&settings.json)?;
    progress(&format!(
        "all values of all runs are in {}",
        settings.json.display()
    ));
    Ok(())
}

impl Bench<'_> {
    fn files(&mut self) -> Result<()> {
        for (side, binary) in self.binaries.iter().enumerate() {
            self.table.add(side, Figure::File, binary.bytes()?);
        }
        Ok(())
    }

    /// The order of the programs in a run, which changes from run to run.
    fn order(&self, run: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.binaries.len()).collect();
        if run % 2 == 1 {
            order.reverse();
        }
        order
    }

    fn runs(&mut self) -> Result<()> {
        // The first start of a program reads its file from the disk, and the first calls make
        // the driver grow. Neither is a cost of the sidecar.
        progress("warming up");
        for binary in &self.binaries {
            work::start(binary, self.socket)?.0.probes(work::PROBES)?;
        }
        for run in 0..self.settings.runs {
            let order = self.order(run);
            self.run(
                &format!("run {} of {}", run + 1, self.settings.runs),
                &order,
            )?;
        }
        Ok(())
    }

    fn run(&mut self, run: &str, order: &[usize]) -> Result<()> {
        let binaries: Vec<&Binary> = order.iter().map(|side| &self.binaries[*side]).collect();
        progress(&format!("{run}: {STARTS} starts"));
        let starts = work::start_times(&binaries, self.socket, STARTS)?;
        progress(&format!(
            "{run}: {} probes, then as many that are timed",
            work::PROBES
        ));
        let mut sidecars = Vec::new();
        for binary in binaries {
            sidecars.push(work::start(binary, self.socket)?.0);
        }
        for ((sidecar, start), side) in sidecars.iter_mut().zip(starts).zip(order) {
            sidecar.probes(work::PROBES)?;
            let memory = proc::memory(sidecar.pid)?;
            let table = &mut self.table;
            table.add(*side, Figure::Start, start);
            table.add(*side, Figure::Resident, number::float(memory.resident));
            table.add(*side, Figure::Anonymous, number::float(memory.anonymous));
        }
        for (cost, side) in work::cost(&mut sidecars)?.iter().zip(order) {
            self.table.add(*side, Figure::Cpu, cost.cpu);
            self.table.add(*side, Figure::Median, cost.p50);
            self.table.add(*side, Figure::Slow, cost.p99);
        }
        self.idle(run, order, &mut sidecars)?;
        self.many_clients(run, order, sidecars)
    }

    fn idle(&mut self, run: &str, order: &[usize], sidecars: &mut [Sidecar]) -> Result<()> {
        let time = self.settings.idle;
        progress(&format!("{run}: idle, {:?} and {time:?}", idle::SETTLE));
        let pids: Vec<_> = sidecars.iter().map(|sidecar| sidecar.pid).collect();
        for (idle, side) in idle::watch(&pids, time)?.iter().zip(order) {
            self.table
                .add(*side, Figure::Switches, idle.switches_a_second);
            self.table
                .add(*side, Figure::ThreadsIdle, number::float(idle.threads));
        }
        for sidecar in sidecars {
            sidecar.healthz()?;
        }
        Ok(())
    }

    fn many_clients(&mut self, run: &str, order: &[usize], sidecars: Vec<Sidecar>) -> Result<()> {
        progress(&format!(
            "{run}: {} clients at once, then {} half-open connections",
            load::CLIENTS,
            crowd::CONNECTIONS
        ));
        for (mut sidecar, side) in sidecars.into_iter().zip(order) {
            let busy = load::threads(&mut sidecar, BUSY)?;
            let crowd = crowd::hold(&mut sidecar)?;
            let threads = number::float(busy.max(crowd.threads));
            self.table.add(*side, Figure::ThreadsBusy, threads);
            self.table.add(*side, Figure::Crowd, crowd.resident);
            self.table.add(*side, Figure::CrowdOpen, crowd.still_open);
        }
        Ok(())
    }

    fn growth(&mut self) -> Result<()> {
        for (side, binary) in self.binaries.iter().enumerate() {
            let probes = self.settings.growth;
            progress(&format!("{}: growth over {probes} probes", binary.name));
            let grown = work::grow(binary, self.socket, probes)?;
            let [first, last] = [grown.at_first, grown.at_last]
                .map(|memory| [memory.resident, memory.anonymous].map(number::float));
            for (figure, value) in [
                (Figure::GrownResident, last[0]),
                (Figure::GrownAnonymous, last[1]),
                (Figure::GrowthResident, last[0] - first[0]),
                (Figure::GrowthAnonymous, last[1] - first[1]),
            ] {
                self.table.add(side, figure, value);
            }
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<()> {
        if let Some(why) = limit::impossible() {
            progress(&format!("the smallest memory limit is not measured: {why}"));
            self.table.cannot(Figure::Limit, why);
            return Ok(());
        }
        for side in self.order(0) {
            let binary = &self.binaries[side];
            progress(&format!("{}: the smallest memory limit", binary.name));
            // An error here must not discard the figures so far.
            let mut search = match limit::Search::begin(binary, self.socket) {
                Ok(search) => search,
                Err(why) => {
                    let why = format!("{}: {why}", binary.name);
                    self.table.cannot(Figure::Limit, why);
                    return Ok(());
                }
            };
            for run in 0..self.settings.runs {
                if run > 0 {
                    search.again()?;
                }
                let found = search.found();
                progress(&format!("{}: {found} KiB are enough", binary.name));
                self.table.add(side, Figure::Limit, number::float(found));
            }
        }
        Ok(())
    }
}
