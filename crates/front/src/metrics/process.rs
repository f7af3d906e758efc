//! The metrics of this process, read from proc(5) at each scrape.
//!
//! By hand: the collector of the crate prometheus needs procfs and rustix, and its
//! process_start_time_seconds has another help text than upstream's.

use std::fs;
use std::sync::Mutex;

use program::threads::lock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Error, Gauge};

/// The unit of times in /proc/self/stat: USER_HZ is 100 on every architecture
/// that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The families, with the names and help texts of Prometheus' own client libraries.
pub(super) struct Process {
    resident: Gauge,
    descriptors: Gauge,
    cpu: Counter,
    /// Held while the values are set and read.
    one_at_a_time: Mutex<()>,
}

impl Process {
    pub(super) fn new() -> Result<Process, Error> {
        Ok(Process {
            resident: Gauge::new(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            descriptors: Gauge::new("process_open_fds", "Number of open file descriptors.")?,
            cpu: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            one_at_a_time: Mutex::default(),
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [
            self.resident.desc(),
            self.descriptors.desc(),
            self.cpu.desc(),
        ]
        .concat()
    }

    /// Leaves out a family that cannot be read, which is all of them without /proc.
    fn collect(&self) -> Vec<MetricFamily> {
        let _guard = lock(&self.one_at_a_time);
        let mut families = Vec::new();
        if let Some(bytes) = read("/proc/self/status")
            .as_deref()
            .and_then(resident_bytes)
        {
            self.resident.set(bytes);
            families.extend(self.resident.collect());
        }
        if let Some(count) = open_descriptors() {
            self.descriptors.set(count);
            families.extend(self.descriptors.collect());
        }
        if let Some(seconds) = read("/proc/self/stat").as_deref().and_then(cpu_seconds) {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
            families.extend(self.cpu.collect());
        }
        families
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// VmRSS, which is in KiB for any size of a page.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}

/// Fields 14 and 15, utime and stime, counted from the end of the name, which is
/// field 2 in brackets and may have anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(14 - 3);
    let mut ticks = || times.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS_PER_SECOND)
}

/// Since Linux 6.2 the size of the directory is the number of its entries. Before that it is 0, and
/// the entries are counted, for which the C library takes a buffer of up to 32 KiB.
fn open_descriptors() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let count = match fs::metadata(DIRECTORY).ok()?.len() {
        0 => counted(DIRECTORY)?,
        count => count,
    };
    u32::try_from(count).ok().map(f64::from)
}

/// Without the descriptor that reads the directory.
fn counted(directory: &str) -> Option<u64> {
    let entries = fs::read_dir(directory).ok()?.count();
    u64::try_from(entries).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_any_place() {
        let status = "Name:\tlivenessprobe\nVmHWM:\t    9999 kB\nVmRSS:\t    2340 kB\n";
        assert_eq!(resident_bytes(status), Some(2340.0 * 1024.0));
        for status in ["", "VmRSS:\t kB", "VmRSS:\t2340", "VmRSS:\t2340 MB"] {
            assert_eq!(resident_bytes(status), None, "{status}");
        }
    }

    #[test]
    fn the_time_is_read_behind_any_name() {
        let after = "S 1 7 7 0 -1 4194560 301 0 2 0 125 30 0 0 20 0 12 0 1 2 3";
        for name in ["livenessprobe", "a b", "a) S 1 2 (", ""] {
            assert_eq!(cpu_seconds(&format!("7 ({name}) {after}")), Some(1.55));
        }
        for stat in [
            "",
            "7 (x",
            "7 (x) S 1 7 7",
            "7 (x) S 1 7 7 0 -1 4 3 0 2 0 a b",
        ] {
            assert_eq!(cpu_seconds(stat), None, "{stat}");
        }
    }

    #[test]
    fn descriptors_are_counted_alike_by_old_and_new_kernels() {
        // Not /proc/self/fd: other tests open and close files meanwhile.
        let directory = std::env::temp_dir().join(format!("lp-fds-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for name in ["0", "1", "2", "3"] {
            fs::write(directory.join(name), "").unwrap();
        }
        assert_eq!(counted(directory.to_str().unwrap()), Some(3));
        fs::remove_dir_all(&directory).unwrap();
        assert!(open_descriptors().is_some_and(|count| count >= 3.0));
    }

    #[test]
    fn this_process_can_be_read() {
        let names: Vec<String> = Process::new()
            .unwrap()
            .collect()
            .iter()
            .map(|family| family.name().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "process_resident_memory_bytes",
                "process_open_fds",
                "process_cpu_seconds_total"
            ]
        );
    }
}
