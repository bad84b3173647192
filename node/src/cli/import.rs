//! XMRig's config.json as a profile.

use miner_ctrl_protocol::profile::Pool;
use miner_ctrl_protocol::{ProfileDraft, ProfileName, Program};
use serde_json::Value;

/// Takes over what a profile can say. XMRig reads comments and trailing commas; so does this.
///
/// # Errors
/// Why it is no configuration, in words.
pub(crate) fn xmrig(text: &str, name: ProfileName) -> Result<ProfileDraft, String> {
    let config: Value = serde_json::from_str(&plain_json(text)).map_err(|error| format!("it is not JSON: {error}"))?;
    let pools = config["pools"].as_array().ok_or("it has no list of `pools`: it is not XMRig's config.json")?;
    let enabled: Vec<&Value> = pools.iter().filter(|pool| pool["enabled"].as_bool() != Some(false)).collect();
    let first = *enabled.first().ok_or("no pool in it is enabled")?;
    let wallet = text_of(&first["user"]).ok_or("its first pool has no `user`")?;
    let password = text_of(&first["pass"]);
    let algorithm = text_of(&first["algo"]).or_else(|| text_of(&config["algo"]));
    let coin = text_of(&first["coin"]).or_else(|| text_of(&config["coin"])).filter(|_| algorithm.is_none());
    let pools = enabled
        .iter()
        .enumerate()
        .map(|(index, pool)| {
            Ok(Pool {
                url: text_of(&pool["url"]).ok_or_else(|| format!("pool {} has no `url`", index + 1))?,
                wallet: text_of(&pool["user"]).filter(|user| *user != wallet),
                password: text_of(&pool["pass"]).filter(|pass| Some(pass) != password.as_ref()),
                tls: pool["tls"].as_bool() == Some(true),
                fingerprint: text_of(&pool["tls-fingerprint"]).filter(|_| pool["tls"].as_bool() == Some(true)),
            })
        })
        .collect::<Result<_, String>>()?;
    let cpu = &config["cpu"];
    let hint = cpu["max-threads-hint"].as_u64().and_then(|hint| u8::try_from(hint).ok());
    Ok(ProfileDraft {
        name,
        program: Program::Xmrig,
        algorithm,
        coin,
        pools,
        wallet,
        password,
        rig_name: text_of(&first["rig-id"]),
        threads: None,
        // 100 is XMRig's own word for "no hint".
        threads_hint: hint.filter(|hint| (1..100).contains(hint)),
        huge_pages: cpu["huge-pages"].as_bool(),
        arguments: vec![],
    })
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// JSON without comments and without commas before a closing bracket; texts in quotes stay as they are.
fn plain_json(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('"', _) => {
                plain.push(c);
                while let Some(c) = characters.next() {
                    plain.push(c);
                    match c {
                        '\\' => plain.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => while characters.next_if(|c| *c != '\n').is_some() {},
            ('/', Some('*')) => {
                characters.next();
                let mut before = ' ';
                for c in characters.by_ref() {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            (']' | '}', _) => {
                let kept = plain.trim_end();
                if kept.ends_with(',') {
                    plain.truncate(kept.len() - 1);
                }
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xmrigs_configuration_becomes_a_profile() {
        let text = r#"{
            // made by the wizard
            "cpu": { "enabled": true, "huge-pages": true, "max-threads-hint": 75, },
            "pools": [
                { "coin": "monero", "algo": null, "url": "a.example:443", "user": "44A//x", "pass": "a\"/*b", "rig-id": "barn",
                  "tls": true, "tls-fingerprint": null },
                { "url": "off.example:1", "user": "44A//x", "enabled": false },
                { "url": "b.example:1", "user": "other", "pass": "a\"/*b", "tls": false }, /* last */
            ],
        }"#;
        let profile = xmrig(text, "p".parse().unwrap()).unwrap().check().unwrap();
        assert_eq!((profile.coin.as_deref(), profile.algorithm.as_deref()), (Some("monero"), None));
        assert_eq!((profile.wallet.as_str(), profile.password.as_deref()), ("44A//x", Some("a\"/*b")));
        assert_eq!((profile.threads_hint, profile.huge_pages), (Some(75), Some(true)));
        assert_eq!(profile.rig_name.as_deref(), Some("barn"));
        let urls: Vec<_> = profile.pools.iter().map(|pool| (pool.url.as_str(), pool.tls)).collect();
        assert_eq!(urls, [("a.example:443", true), ("b.example:1", false)]);
        assert_eq!(profile.pools[1].wallet.as_deref(), Some("other"));
        assert_eq!(profile.pools[1].password, None, "the same as the first's");
    }

    #[test]
    fn what_is_no_configuration_is_told_in_words() {
        let name = || "p".parse().unwrap();
        for (text, why) in [
            ("", "not JSON"),
            ("{}", "no list of `pools`"),
            (r#"{"pools": []}"#, "no pool"),
            (r#"{"pools": [{"url": "a:1"}]}"#, "no `user`"),
            (r#"{"pools": [{"user": "a"}]}"#, "pool 1 has no `url`"),
            ("/* \"", "not JSON"),
        ] {
            let told = xmrig(text, name()).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
