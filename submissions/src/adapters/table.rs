//! The table of methods: one line each.

use super::{
    Method, MethodError, Options, Race, Shape, adalora, allora, bat, boft, c3a, delora, dora, dsee,
    dylora, flora, fourierft, gralora, hira, hra, hydra, ia3, loha, lokr, loldu, lora, lora_fa,
    miss, monarch, mosl, oft, randlora, road, s2ft, shira, spectral, vera,
};

/// A line of the table.
pub struct Entry {
    /// The method's name here.
    pub name: &'static str,
    /// Its name in PEFT's configurations (`peft_type`); empty where PEFT has no such method.
    pub peft_type: &'static str,
    /// The option that tells it from others of the same `peft_type`, and the option's value as JSON;
    /// empty where nothing does.
    pub told_by: (&'static str, &'static str),
    /// The method for a weight.
    pub build: Build,
    /// Options as JSON, and how many values they train on a weight of 384 by 384.
    pub example: (&'static str, usize),
    /// What the adapted weight is at the start.
    pub begins: Begins,
    /// How it races; `None` for what no submission bears.
    pub race: Option<&'static Race>,
}

/// What the adapted weight is at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// The weight itself, bit for bit.
    AtWeight,
    /// The weight up to rounding.
    NearWeight,
    /// Another one, by design.
    Elsewhere,
}

/// Makes a method from its options for a weight of this shape.
pub type Build = fn(&Options, Shape) -> Result<Box<dyn Method>, MethodError>;

impl Entry {
    const fn new(
        name: &'static str,
        peft_type: &'static str,
        build: Build,
        example: (&'static str, usize),
    ) -> Self {
        Self {
            name,
            peft_type,
            told_by: ("", ""),
            build,
            example,
            begins: Begins::AtWeight,
            race: None,
        }
    }

    const fn races(self, race: &'static Race) -> Self {
        Self {
            race: Some(race),
            ..self
        }
    }

    const fn when(self, option: &'static str, value: &'static str) -> Self {
        Self {
            told_by: (option, value),
            ..self
        }
    }

    const fn begins(self, begins: Begins) -> Self {
        Self { begins, ..self }
    }

    /// Whether these options ask for this line and not for another of the same type.
    fn fits(&self, options: &Options) -> bool {
        let (option, wanted) = self.told_by;
        let value = options.value(option).map(ToString::to_string);
        option.is_empty() || value.as_deref() == Some(wanted)
    }
}

/// All methods. Among lines of one `peft_type` the first that fits counts.
#[rustfmt::skip]
pub static METHODS: &[Entry] = &[
    Entry::new("dora", "LORA", dora::build, (r#"{"r": 8, "use_dora": true}"#, 6528))
        .when("use_dora", "true")
        .races(&dora::RACE),
    Entry::new("rslora", "LORA", lora::build, (r#"{"r": 8, "use_rslora": true}"#, 6144))
        .when("use_rslora", "true")
        .races(&lora::RACE_RS),
    Entry::new("pissa", "LORA", lora::build, (r#"{"r": 8, "init_lora_weights": "pissa"}"#, 6144))
        .when("init_lora_weights", "\"pissa\"").begins(Begins::NearWeight)
        .races(&spectral::RACE_PISSA),
    Entry::new("olora", "LORA", lora::build, (r#"{"r": 8, "init_lora_weights": "olora"}"#, 6144))
        .when("init_lora_weights", "\"olora\"").begins(Begins::NearWeight)
        .races(&spectral::RACE_OLORA),
    Entry::new("lora", "LORA", lora::build, (r#"{"r": 8}"#, 6144))
        .races(&lora::RACE),
    Entry::new("adalora", "ADALORA", adalora::build, (r#"{"init_r": 12}"#, 9228)),
    Entry::new("loha", "LOHA", loha::build, (r#"{"r": 8}"#, 12288))
        .races(&loha::RACE),
    Entry::new("lokr", "LOKR", lokr::build, (r#"{"r": 8}"#, 640))
        .races(&lokr::RACE),
    Entry::new("vera", "VERA", vera::build, (r#"{"r": 256}"#, 640))
        .races(&vera::RACE),
    Entry::new("randlora", "RANDLORA", randlora::build, (r#"{"r": 32}"#, 4992))
        .races(&randlora::RACE),
    Entry::new("ia3", "IA3", ia3::build, ("{}", 384))
        .races(&ia3::RACE),
    Entry::new("hira", "HIRA", hira::build, (r#"{"r": 8}"#, 6144))
        .races(&hira::RACE),
    Entry::new("oft", "OFT", oft::build, (r#"{"oft_block_size": 32}"#, 5952))
        .races(&oft::RACE),
    Entry::new("boft", "BOFT", boft::build, (r#"{"boft_block_size": 4}"#, 1920))
        .races(&boft::RACE),
    Entry::new("hra", "HRA", hra::build, (r#"{"r": 8}"#, 3072)).begins(Begins::NearWeight)
        .races(&hra::RACE),
    Entry::new("fourierft", "FOURIERFT", fourierft::build, (r#"{"n_frequency": 1000}"#, 1000))
        .races(&fourierft::RACE),
    Entry::new("delora", "DELORA", delora::build, (r#"{"r": 8}"#, 6145))
        .races(&delora::RACE),
    Entry::new("c3a", "C3A", c3a::build, (r#"{"block_size": 128}"#, 1152))
        .begins(Begins::Elsewhere)
        .races(&c3a::RACE),
    Entry::new("road", "ROAD", road::build, (r#"{"variant": "road_1"}"#, 384))
        .races(&road::RACE),
    Entry::new("gralora", "GRALORA", gralora::build, (r#"{"r": 8}"#, 6144))
        .races(&gralora::RACE),
    Entry::new("shira", "SHIRA", shira::build, (r#"{"r": 8}"#, 6144))
        .races(&shira::RACE),
    Entry::new("bone", "MISS", bat::build, (r#"{"r": 8, "init_weights": "bat"}"#, 3072))
        .when("init_weights", "\"bat\"")
        .races(&bat::RACE),
    Entry::new("miss", "MISS", miss::build, (r#"{"r": 8}"#, 3072))
        .races(&miss::RACE),
    Entry::new("lora_fa", "", lora_fa::build, (r#"{"r": 8}"#, 3072))
        .races(&lora_fa::RACE),
    Entry::new("allora", "", allora::build, (r#"{"r": 8}"#, 6144))
        .races(&allora::RACE),
    Entry::new("dylora", "", dylora::build, (r#"{"r": 8, "frozen": false}"#, 6144))
        .races(&dylora::RACE),
    Entry::new("loldu", "", loldu::build, (r#"{"r": 384}"#, 384)).begins(Begins::NearWeight)
        .races(&loldu::RACE),
    Entry::new("flora", "", flora::build, (r#"{"r": 8}"#, 6208))
        .races(&flora::RACE),
    Entry::new("dsee", "", dsee::build, (r#"{"r": 16, "n": 16}"#, 12304))
        .races(&dsee::RACE),
    Entry::new("s2ft", "", s2ft::build, (r#"{"rows": 12}"#, 4608))
        .races(&s2ft::RACE),
    Entry::new("hydra", "", hydra::build, (r#"{"r": 4, "sequential_r": 4}"#, 6144))
        .races(&hydra::RACE),
    Entry::new("mosl", "", mosl::build, (r#"{"r": 8, "experts": 4}"#, 15360))
        .races(&mosl::RACE),
    Entry::new("monarch", "", monarch::build, (r#"{"r": 4, "blocks": 4}"#, 3072))
        .races(&monarch::RACE),
];

/// The line of this name.
pub fn entry(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|e| e.name == name)
}

/// The line that a configuration of this `peft_type` asks for.
pub(super) fn of_type(peft_type: &str, options: &Options) -> Option<&'static Entry> {
    let mut lines = METHODS.iter().filter(|e| e.peft_type == peft_type);
    lines.find(|e| !e.peft_type.is_empty() && e.fits(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_and_every_type_has_a_line_without_a_condition() {
        for (i, line) in METHODS.iter().enumerate() {
            assert!(
                METHODS[..i].iter().all(|e| e.name != line.name),
                "{}",
                line.name
            );
            let same = METHODS.iter().filter(|e| e.peft_type == line.peft_type);
            assert!(
                same.clone().any(|e| e.told_by.0.is_empty()),
                "{}",
                line.name
            );
        }
    }
}
