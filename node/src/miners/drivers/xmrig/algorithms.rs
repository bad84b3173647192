//! Names that XMRig knows. It takes an unknown one silently as "auto", so a typo must be caught here.

/// Algorithms of XMRig 6.22 to 6.26: the name that its API reports, and others that it takes for it. Whether a build can do
/// one is seen after its start. It takes `chukwav2` for `argon2/chukwa`, which nobody means who writes that.
const ALGORITHMS: [(&str, &[&str]); 32] = [
    ("argon2/chukwa", &["chukwa"]),
    ("argon2/chukwav2", &[]),
    ("argon2/ninja", &["argon2/wrkz"]),
    ("cn-heavy/0", &["cryptonight-heavy/0", "cryptonight-heavy", "cn-heavy", "cryptonight_heavy"]),
    ("cn-heavy/tube", &["cryptonight-heavy/tube", "cryptonight-bittube2"]),
    ("cn-heavy/xhv", &["cryptonight-heavy/xhv", "cryptonight_haven"]),
    (
        "cn-lite/0",
        &["cryptonight-lite/0", "cryptonight-lite", "cryptonight-light", "cn-lite", "cn-light", "cryptonight_lite"],
    ),
    ("cn-lite/1", &["cryptonight-lite/1", "cryptonight-aeonv7", "cryptonight_lite_v7"]),
    (
        "cn-pico",
        &[
            "cryptonight-pico",
            "cn-pico/0",
            "cryptonight-pico/trtl",
            "cn-pico/trtl",
            "cryptonight-turtle",
            "cn-trtl",
            "cryptonight-ultralite",
            "cn-ultralite",
            "cryptonight_turtle",
            "cn_turtle",
        ],
    ),
    (
        "cn-pico/tlo",
        &[
            "cryptonight-pico/tlo",
            "cryptonight/ultra",
            "cn/ultra",
            "cryptonight-talleo",
            "cn-talleo",
            "cryptonight_talleo",
            "cn_talleo",
        ],
    ),
    ("cn/0", &["cryptonight/0", "cryptonight", "cn"]),
    ("cn/1", &["cryptonight/1", "cryptonight-monerov7", "cryptonight_v7"]),
    ("cn/2", &["cryptonight/2", "cryptonight-monerov8", "cryptonight_v8"]),
    ("cn/ccx", &["cryptonight/ccx", "cryptonight/conceal", "cn/conceal"]),
    ("cn/double", &["cryptonight/double"]),
    ("cn/fast", &["cryptonight/fast", "cryptonight/msr", "cn/msr"]),
    ("cn/half", &["cryptonight/half"]),
    ("cn/r", &["cryptonight/r", "cryptonight_r"]),
    ("cn/rto", &["cryptonight/rto"]),
    ("cn/rwz", &["cryptonight/rwz"]),
    ("cn/upx2", &["cryptonight/upx2", "cn-extremelite/upx2", "cryptonight-upx/2"]),
    ("cn/xao", &["cryptonight/xao", "cryptonight_alloy"]),
    ("cn/zls", &["cryptonight/zls"]),
    ("ghostrider", &["ghostrider/rtm", "gr"]),
    ("kawpow", &["kawpow/rvn"]),
    ("rx/0", &["randomx/0", "randomx/test", "rx/test", "randomx", "rx"]),
    ("rx/2", &["randomx/v2", "rx/v2"]),
    ("rx/arq", &["randomx/arq", "randomarq"]),
    ("rx/graft", &["randomx/graft", "randomgraft"]),
    ("rx/sfx", &["randomx/sfx", "randomsfx"]),
    ("rx/wow", &["randomx/wow", "randomwow"]),
    ("rx/yada", &["randomx/yada", "randomyada"]),
];

/// Coins, by name and by ticker, in small letters; XMRig does not mind the case.
const COINS: [&str; 17] = [
    "arq",
    "arqma",
    "graft",
    "grft",
    "monero",
    "ravencoin",
    "rvn",
    "sumo",
    "sumokoin",
    "townforge",
    "wow",
    "wownero",
    "xmr",
    "yadacoin",
    "yda",
    "zeph",
    "zephyr",
];

/// The name that XMRig's API reports for an algorithm; none for one that it does not know. It does not mind the case.
pub(in crate::miners) fn algorithm(name: &str) -> Option<&'static str> {
    let found = ALGORITHMS
        .iter()
        .find(|(known, others)| others.iter().chain([known]).any(|other| other.eq_ignore_ascii_case(name)));
    found.map(|(known, _)| *known)
}

/// Whether XMRig knows a coin.
pub(in crate::miners) fn is_coin(name: &str) -> bool {
    COINS.iter().any(|coin| coin.eq_ignore_ascii_case(name))
}

/// The algorithms nearest to a misspelt one, for the operator.
pub(in crate::miners) fn suggest(name: &str) -> String {
    let family = name.split(['/', '-']).next().unwrap_or(name);
    let names = ALGORITHMS.iter().map(|(known, _)| *known);
    let near: Vec<_> = names.filter(|known| known.starts_with(family) || known.contains(name)).collect();
    if near.is_empty() { "rx/0, cn/r, argon2/chukwav2, ghostrider, kawpow, …".to_owned() } else { near.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_is_known_by_each_name_that_xmrig_takes() {
        for (name, known) in [
            ("RX/0", "rx/0"),
            ("RandomX", "rx/0"),
            ("chukwa", "argon2/chukwa"),
            ("cn", "cn/0"),
            ("cn-pico/trtl", "cn-pico"),
            ("cryptonight", "cn/0"),
            ("gr", "ghostrider"),
            ("kawpow/rvn", "kawpow"),
            ("randomx/0", "rx/0"),
            ("rx", "rx/0"),
            ("rx/v2", "rx/2"),
        ] {
            assert_eq!(algorithm(name), Some(known), "{name}");
        }
        for name in ["", "rx/O", "chukwav2", "rx/", "auto"] {
            assert_eq!(algorithm(name), None, "{name}");
        }
        assert_eq!(suggest("chukwav2"), "argon2/chukwav2");
    }

    #[test]
    fn no_name_stands_for_two_algorithms() {
        for (known, others) in ALGORITHMS {
            assert!(others.iter().chain([&known]).all(|name| algorithm(name) == Some(known)), "{known}");
        }
    }
}
