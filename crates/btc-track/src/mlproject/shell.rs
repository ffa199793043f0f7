//! Where in a shell command a text stands, and so how it must be quoted.

use super::quote;

/// What the shell is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Words; inside `$(` or `(` up to the parenthesis.
    Words,
    /// `"..."`.
    Double,
    /// `'...'`.
    Single,
    /// What is read as code even if it is quoted: backticks, `$((`, `$'`.
    Code(char),
    /// A comment, up to the end of the line.
    Comment,
}

/// The state of the shell after the part of a command that it has read.
///
/// Only as much of its grammar is known as decides what a text would be read
/// as. A command with a here-document takes no text at all.
#[derive(Debug)]
pub(super) struct Shell {
    /// What encloses the present place, the outermost first.
    contexts: Vec<Context>,
    /// The characters before it.
    last: [char; 2],
    has_document: bool,
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            contexts: vec![Context::Words],
            last: ['\n'; 2],
            has_document: false,
        }
    }
}

impl Shell {
    /// Reads a part of the command as the shell will.
    pub(super) fn read(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let context = self.context();
            match (context, c) {
                (Context::Comment, '\n') => self.pop(),
                (Context::Comment, _) => {}
                (Context::Single, '\'') => self.pop(),
                (Context::Single, _) => {}
                (Context::Words | Context::Double | Context::Code(_), '\\') => {
                    chars.next();
                    self.last = ['\\'; 2];
                    continue;
                }
                (Context::Code(end), c) if c == end => self.pop(),
                (Context::Code(')'), '(') => self.contexts.push(Context::Code(')')),
                (Context::Code(_), _) => {}
                (Context::Double, '"') => self.pop(),
                (_, '`') => self.contexts.push(Context::Code('`')),
                (_, '(') if self.last == ['$', '('] => {
                    self.pop();
                    self.contexts.extend([Context::Code(')'); 2]);
                }
                (Context::Words, '(') if self.last[1] == '(' => {
                    self.pop();
                    self.contexts.extend([Context::Code(')'); 2]);
                }
                (Context::Words, '(') => self.contexts.push(Context::Words),
                (Context::Double, '(') if self.last[1] == '$' => {
                    self.contexts.push(Context::Words);
                }
                (Context::Words, ')') if self.contexts.len() > 1 => self.pop(),
                (Context::Words, '"') => self.contexts.push(Context::Double),
                (Context::Words, '\'') if self.last[1] == '$' => {
                    self.contexts.push(Context::Code('\''));
                }
                (Context::Words, '\'') => self.contexts.push(Context::Single),
                (Context::Words, '#') if self.last[1].is_whitespace() || self.last[1] == ';' => {
                    self.contexts.push(Context::Comment);
                }
                (Context::Words, '<') if self.last[1] == '<' => {
                    // Three of them are a word, not a document.
                    let is_word = self.last[0] == '<' || chars.peek() == Some(&'<');
                    self.has_document |= !is_word;
                }
                _ => {}
            }
            self.last = [self.last[1], c];
        }
    }

    /// Notes that a text was put here.
    pub(super) fn word(&mut self) {
        self.last = ['x'; 2];
    }

    /// `text` so that it is read as itself here; none if nothing can do that.
    pub(super) fn quote(&self, text: &str) -> Option<String> {
        if self.has_document {
            return None;
        }
        match self.context() {
            Context::Words => Some(quote(text)),
            Context::Single => Some(text.replace('\'', "'\"'\"'")),
            Context::Double => {
                let mut quoted = String::new();
                for c in text.chars() {
                    if matches!(c, '"' | '\\' | '$' | '`') {
                        quoted.push('\\');
                    }
                    quoted.push(c);
                }
                Some(quoted)
            }
            // A line's end would end the comment.
            Context::Comment => Some(text.replace(['\n', '\r'], " ")),
            Context::Code(_) => None,
        }
    }

    fn context(&self) -> Context {
        self.contexts.last().copied().unwrap_or(Context::Words)
    }

    fn pop(&mut self) {
        // The outermost context stays, whatever partner is missing.
        if self.contexts.len() > 1 {
            self.contexts.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(command: &str, text: &str) -> Option<String> {
        let mut shell = Shell::default();
        shell.read(command);
        shell.quote(text)
    }

    #[test]
    fn a_text_is_itself_in_every_context() {
        let evil = "a'b\"$(id)`id`\\ $HOME;";
        let double = Some("a'b\\\"\\$(id)\\`id\\`\\\\ \\$HOME;".to_owned());
        for command in [
            "echo \"",
            "echo \"$(date) ",
            "echo 'x' \"y",
            "echo \\\" \"",
            "# it's\n\"",
        ] {
            assert_eq!(after(command, evil), double, "{command}");
        }
        let words = Some(quote(evil));
        for command in [
            "echo ",
            "echo \"x\" ",
            "echo \"$(cat ",
            "echo 'it' ",
            "echo x#'y' ",
            "cat <<< ",
        ] {
            assert_eq!(after(command, evil), words, "{command}");
        }
        assert_eq!(after("echo '", "a'b$c").as_deref(), Some("a'\"'\"'b$c"));
        for command in [
            "echo `",
            "echo $((",
            "((",
            "echo $'",
            "cat <<END\n",
            "echo \"$(( 1 + ",
        ] {
            assert_eq!(after(command, evil), None, "{command}");
        }
        assert_eq!(after("echo $((1 + (2))) ", "x").as_deref(), Some("x"));
        assert_eq!(after("echo `date` ", "x").as_deref(), Some("x"));
        assert_eq!(after("x # it's ", "a\nb").as_deref(), Some("a b"));
    }
}
