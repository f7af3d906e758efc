//! The figures that are measured, and how the report calls them.

use crate::crowd::CONNECTIONS;
use crate::load::CLIENTS;
use crate::number::show;

/// The rows of the table, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    File,
    Resident,
    Anonymous,
    Crowd,
    CrowdOpen,
    Cpu,
    Median,
    Slow,
    Start,
    Switches,
    ThreadsIdle,
    ThreadsBusy,
    GrownResident,
    GrownAnonymous,
    GrowthResident,
    GrowthAnonymous,
    Limit,
}

impl Figure {
    /// Whether it is the difference of two others. That is near zero, so a ratio says nothing.
    pub fn is_difference(self) -> bool {
        matches!(self, Figure::GrowthResident | Figure::GrowthAnonymous)
    }

    /// Its name. `growth` is how many probes are made to measure growth.
    pub fn name(self, growth: u32) -> String {
        let growth = show(f64::from(growth), 0);
        let crowd = show(f64::from(CONNECTIONS), 0);
        match self {
            Figure::File => "file".to_owned(),
            Figure::Resident => "resident after 1,000 probes".to_owned(),
            Figure::Anonymous => "of that, anonymous".to_owned(),
            Figure::Crowd => format!("resident while {crowd} half-open connections are held"),
            Figure::CrowdOpen => "of these connections, still open then".to_owned(),
            Figure::Cpu => "CPU per probe, user and system".to_owned(),
            Figure::Median => "/healthz, p50".to_owned(),
            Figure::Slow => "/healthz, p99".to_owned(),
            Figure::Start => "start to first 200".to_owned(),
            Figure::Switches => "context switches a second, idle".to_owned(),
            Figure::ThreadsIdle => "threads, idle".to_owned(),
            Figure::ThreadsBusy => {
                format!("threads, most seen ({CLIENTS} clients at once; the half-open connections)")
            }
            Figure::GrownResident => format!("resident after {growth} probes"),
            Figure::GrownAnonymous => format!("anonymous after {growth} probes"),
            Figure::GrowthResident => "of the resident, grown since the first 1,000".to_owned(),
            Figure::GrowthAnonymous => "of the anonymous, grown since the first 1,000".to_owned(),
            Figure::Limit => {
                "smallest memory limit for 1,000 probes (the process alone, no container runtime)"
                    .to_owned()
            }
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Figure::File => "bytes",
            Figure::Resident
            | Figure::Anonymous
            | Figure::Crowd
            | Figure::GrownResident
            | Figure::GrownAnonymous
            | Figure::GrowthResident
            | Figure::GrowthAnonymous
            | Figure::Limit => "KiB",
            Figure::Cpu | Figure::Median | Figure::Slow => "µs",
            Figure::Start => "ms",
            Figure::Switches => "1/s",
            Figure::CrowdOpen | Figure::ThreadsIdle | Figure::ThreadsBusy => "",
        }
    }

    /// How many digits stand behind the point.
    pub fn digits(self) -> usize {
        match self {
            Figure::Start | Figure::Switches => 2,
            _ => 0,
        }
    }
}
