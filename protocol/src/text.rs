//! Foreign text, fit to be shown.

/// Whether a character shows, and leaves the others where they are: none that controls, reorders or hides text.
#[must_use]
pub fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reorders_or_hides_text_does_not_show() {
        assert!("Ünï – 矿工 ⛏".chars().all(is_visible));
        assert!(
            "\n\u{1b}\u{ad}\u{61c}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{e0041}".chars().all(|c| !is_visible(c))
        );
    }
}
