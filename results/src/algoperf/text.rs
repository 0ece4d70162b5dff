//! The score of a log tree as text: the board, and what the official scorer prints beside it.

use super::LogScore;
use super::sensitivity::{self, LeftOut};
use crate::render::{self, Section, digits3, status_words};
use crate::score::{Cell, profile};

/// The ratios at which the profile is printed.
const TAUS: [f64; 7] = [1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0];

impl LogScore<'_> {
    /// Everything for a terminal; `width` as in [`render::terminal`].
    pub fn text(&self, width: Option<u16>) -> String {
        let mut board = self.board();
        board.notes.clear();
        let mut text = render::terminal(&board, width);
        for section in self.sections() {
            text += &section.terminal(width);
        }
        for line in self.lines() {
            text += &format!("{}\n", render::wrap(&line, width));
        }
        text
    }

    /// The same as Markdown.
    pub fn markdown(&self) -> String {
        let mut board = self.board();
        board.notes.clear();
        let mut text = render::markdown(&board);
        for section in self.sections() {
            text += &section.markdown();
        }
        text += "\n## Assumptions and findings\n\n";
        for line in self.lines().iter().filter(|l| !l.is_empty()) {
            text += &format!("- {line}\n");
        }
        text
    }

    /// Assumptions and findings, one per line.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        lines.extend(self.logs.assumed.iter().map(|a| format!("Assumed: {a}")));
        let findings = &self.logs.findings;
        let refused = self.logs.refused().count();
        lines.push(match findings.len() {
            0 => "No findings.".to_string(),
            1 => format!("1 finding, of which --strict refuses {refused}:"),
            n => format!("{n} findings, of which --strict refuses {refused}:"),
        });
        lines.extend(findings.iter().map(ToString::to_string));
        lines
    }

    fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        if !self.logs.targets.held_out.is_empty() {
            let base = self.logs.targets.base;
            sections.push(self.matrix(
                "Time to target on held-out workloads [s]",
                base..self.logs.targets.workloads.len(),
                |s, w| time(self.times[s][w]),
                "Median over studies. inf: not reached; absent: no log.",
            ));
        }
        sections.push(self.matrix(
            "Time to target after the rules [s]",
            0..self.logs.targets.base,
            |s, w| time(self.scored.stages.after_rules[s][w]),
            "After the held-out rule and the limit of 4 times the best time.",
        ));
        sections.push(self.profile());
        sections.extend(self.speed_up_section());
        sections.push(self.matrix(
            "Seconds per step",
            0..self.logs.targets.workloads.len(),
            |s, w| time(self.step_times[s][w]),
            "Median over all evaluations of all trials.",
        ));
        sections.push(self.summary());
        sections.push(self.sensitivity());
        sections
    }

    fn matrix(
        &self,
        title: &'static str,
        columns: std::ops::Range<usize>,
        cell: impl Fn(usize, usize) -> String,
        caption: &str,
    ) -> Section {
        let names = columns
            .clone()
            .map(|w| self.logs.targets.workloads[w].name.clone());
        let row = |s: usize| {
            let cells = columns.clone().map(|w| cell(s, w));
            std::iter::once(self.logs.submissions[s].clone())
                .chain(cells)
                .collect()
        };
        Section {
            title,
            header: std::iter::once("submission".to_string())
                .chain(names)
                .collect(),
            rows: self.order().into_iter().map(row).collect(),
            caption: caption.to_string(),
        }
    }

    fn profile(&self) -> Section {
        let row = |s: usize| {
            let ratios = &self.scored.ratios[s];
            let values = TAUS
                .iter()
                .map(|tau| format!("{:.4}", profile::at(ratios, *tau)));
            let exact = format!("{:.6}", self.exact[s]);
            std::iter::once(self.logs.submissions[s].clone())
                .chain(values)
                .chain([exact])
                .collect()
        };
        let taus = TAUS.iter().map(|tau| format!("ratio <= {tau}"));
        Section {
            title: "Performance profile",
            header: std::iter::once("submission".to_string())
                .chain(taus)
                .chain(["score, exact integral".to_string()])
                .collect(),
            rows: self.order().into_iter().map(row).collect(),
            caption: "Share of the workloads solved within so many times the best time.".into(),
        }
    }

    fn speed_up_section(&self) -> Option<Section> {
        let reference = &self.logs.submissions[self.reference?];
        let speed_ups = self.speed_ups.as_ref()?;
        let optional =
            |x: Option<f64>| x.map_or_else(|| "absent".to_string(), |x| format!("{x:.4}"));
        let mut section = self.matrix(
            "Speed-up",
            0..self.logs.targets.base,
            |s, w| optional(speed_ups[s].time_ratios[w]),
            "",
        );
        section.header.push("geometric mean of times".into());
        section.header.push("speed-up".into());
        for (row, s) in section.rows.iter_mut().zip(self.order()) {
            row.push(optional(speed_ups[s].time_ratio));
            row.push(optional(speed_ups[s].speed_up()));
        }
        section.caption = format!(
            "Time over the time of {reference}, without rules; less than 1 is faster. Where the \
             target was not reached, the oldest budget and one second stand for the time."
        );
        Some(section)
    }

    fn summary(&self) -> Section {
        let mut rows = Vec::new();
        for s in self.order() {
            for (w, workload) in self.logs.targets.workloads.iter().enumerate() {
                let trials: Vec<_> = self.trials(s, w).collect();
                let best = trials.iter().filter_map(|t| t.evals.as_ref()?.best);
                let best = best.reduce(|a, b| {
                    if workload.direction.better(b.0, a.0) {
                        b
                    } else {
                        a
                    }
                });
                let endings: Vec<String> = self
                    .statuses(s, w)
                    .iter()
                    .map(|(status, n)| format!("{n} {}", status_words(*status)))
                    .collect();
                rows.push(vec![
                    self.logs.submissions[s].clone(),
                    workload.name.clone(),
                    if endings.is_empty() {
                        "no record".into()
                    } else {
                        endings.join(", ")
                    },
                    format!("{} {}", workload.metric, workload.target),
                    best.map_or_else(|| "none".into(), |b| format!("{:.6}", b.0)),
                    best.map_or_else(|| "none".into(), |b| time(Some(b.1))),
                    time(self.times[s][w]),
                    workload
                        .step_hint
                        .map_or_else(|| "none".into(), |n| n.to_string()),
                ]);
            }
        }
        Section {
            title: "Submissions",
            header: [
                "submission",
                "workload",
                "trials",
                "target",
                "best metric",
                "time to best [s]",
                "time to target [s]",
                "step hint",
            ]
            .map(str::to_string)
            .to_vec(),
            rows,
            caption:
                "crashed: no evaluation, or an end well before the budget; missed: the budget \
                      was spent. Every trial is in the JSON form."
                    .into(),
        }
    }

    fn sensitivity(&self) -> Section {
        let order = self.order();
        let rows = self.variations.iter().map(|v| {
            let what = match &v.change {
                LeftOut::Submission(name) => format!("without submission {name}"),
                LeftOut::Workload(name) => format!("without workload {name}"),
                LeftOut::Study(n) => format!("without study {n}"),
                LeftOut::Budget(part) => format!("{} % of the budget", part * 100.0),
            };
            let cell = |s: &usize| match (v.scores[*s], v.ranks[*s]) {
                (Some(score), Some(rank)) => {
                    format!(
                        "{score:.4} ({:+.4}, rank {rank})",
                        score - self.scored.scores[*s]
                    )
                }
                _ => "left out".to_string(),
            };
            let kept = sensitivity::agreement(&self.scored.scores, &v.scores);
            let kept = kept.map_or_else(|| "one alone".into(), |k| format!("{:.0} %", k * 100.0));
            std::iter::once(what)
                .chain(order.iter().map(cell))
                .chain([kept])
                .collect()
        });
        let names = order.iter().map(|s| self.logs.submissions[*s].clone());
        Section {
            title: "What the scores depend on",
            header: std::iter::once("change".to_string())
                .chain(names)
                .chain(["pairs in the same order".to_string()])
                .collect(),
            rows: rows.collect(),
            caption:
                "Score, its difference from the board, and the rank among those that take part."
                    .into(),
        }
    }
}

fn time(cell: Cell) -> String {
    match cell {
        Some(x) if x.is_finite() => digits3(x),
        Some(_) => "inf".to_string(),
        None => "absent".to_string(),
    }
}
