//! Names that XMRig knows. It takes an unknown one silently as "auto", so a typo must be caught here.

/// Algorithms of XMRig 6.22 to 6.26 by the names its API reports. Whether a build can do one is seen after its start.
const ALGORITHMS: [&str; 32] = [
    "argon2/chukwa",
    "argon2/chukwav2",
    "argon2/ninja",
    "cn-heavy/0",
    "cn-heavy/tube",
    "cn-heavy/xhv",
    "cn-lite/0",
    "cn-lite/1",
    "cn-pico",
    "cn-pico/tlo",
    "cn/0",
    "cn/1",
    "cn/2",
    "cn/ccx",
    "cn/double",
    "cn/fast",
    "cn/half",
    "cn/r",
    "cn/rto",
    "cn/rwz",
    "cn/upx2",
    "cn/xao",
    "cn/zls",
    "ghostrider",
    "kawpow",
    "rx/0",
    "rx/2",
    "rx/arq",
    "rx/graft",
    "rx/sfx",
    "rx/wow",
    "rx/yada",
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

/// Whether XMRig knows an algorithm.
pub(in crate::miners) fn is_algorithm(name: &str) -> bool {
    ALGORITHMS.contains(&name)
}

/// Whether XMRig knows a coin.
pub(in crate::miners) fn is_coin(name: &str) -> bool {
    COINS.iter().any(|coin| coin.eq_ignore_ascii_case(name))
}

/// The algorithms nearest to a misspelt one, for the operator.
pub(super) fn suggest(name: &str) -> String {
    let family = name.split(['/', '-']).next().unwrap_or(name);
    let near: Vec<_> = ALGORITHMS.into_iter().filter(|known| known.starts_with(family)).collect();
    if near.is_empty() { "rx/0, cn/r, argon2/chukwav2, ghostrider, kawpow, …".to_owned() } else { near.join(", ") }
}
