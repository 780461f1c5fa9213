//! Names of time zones that date headers carry, with their offsets.
//!
//! Zone names are ambiguous; a name that RFC 822 or common use ties to one offset stands here with
//! it, military letters included. A name that is missing means UTC, which is what the first servers
//! of this protocol did with it.

/// Minutes east of UTC, and the names in use there.
const ZONES: [(i16, &str); 41] = [
    (-720, "Y"),
    (-660, "X NUT SST"),
    (-600, "W CKT HAST HST TAHT TKT"),
    (-570, "MART MIT"),
    (-540, "V AKST GAMT GIT HADT HNY"),
    (-480, "U AKDT CIST HAY HNP PST PT"),
    (-420, "T HAP HNR MST PDT"),
    (-360, "S CST EAST GALT HAR HNC MDT"),
    (-300, "R CDT COT EASST ECT EST ET HAC HNE PET"),
    (-270, "HLV VET"),
    (-240, "Q AST BOT CLT COST EDT FKT GYT HAE HNA PYT"),
    (-210, "HNT NST NT"),
    (-180, "P ADT ART BRT CLST FKST GFT HAA PMST PYST SRT UYT WGT"),
    (-150, "HAT NDT"),
    (-120, "O BRST FNT PMDT UYST WGST"),
    (-60, "N AZOT CVT EGT"),
    (0, "Z EGST GMT UT UTC WET WT"),
    (60, "A BST CET DFT WAT WEDT WEST"),
    (120, "B CAT CEDT CEST EET SAST WAST"),
    (180, "C EAT EEDT EEST IDT MSK"),
    (210, "IRST"),
    (240, "D AMT AZT GET GST KUYT MSD MUT RET SAMT SCT"),
    (270, "AFT IRDT"),
    (300, "E AMST AQTT AZST HMT MAWT MVT PKT TFT TJT TMT UZT YEKT"),
    (330, "IST SLT"),
    (345, "NPT"),
    (360, "F ALMT BIOT BTT IOT KGT NOVT OMST YEKST"),
    (390, "CCT MMT"),
    (420, "G CXT DAVT HOVT ICT KRAT NOVST OMSST THA WIB"),
    (480, "H ACT AWST BDT BNT HKT IRKT KRAST MYT PHT SGT ULAT WITA WST"),
    (540, "I AWDT IRKST JST KST PWT TLT WDT WIT YAKT"),
    (570, "ACST"),
    (600, "K AEST CHST PGT VLAT YAKST YAPT"),
    (630, "ACDT LHST"),
    (660, "L AEDT LHDT MAGT NCT PONT SBT VLAST VUT"),
    (690, "NFT"),
    (720, "M ANAST ANAT FJT GILT MAGST MHT NZST PETST PETT TVT WFT"),
    (765, "CHAST"),
    (780, "FJST NZDT PHOT TOT"),
    (825, "CHADT"),
    (840, "LINT"),
];

/// How many seconds east of UTC a zone of that name is, in any case; `None` for an unknown name.
pub(super) fn offset_seconds(name: &[u8]) -> Option<i32> {
    // The name of almost every request, without a walk through the table.
    if name.eq_ignore_ascii_case(b"GMT") || name.eq_ignore_ascii_case(b"Z") || name.eq_ignore_ascii_case(b"UTC") {
        return Some(0);
    }
    let known = |names: &str| names.split(' ').any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    ZONES.iter().find(|(_, names)| known(names)).map(|(minutes, _)| i32::from(*minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_offsets_in_any_case_and_unknown_ones_none() {
        for (name, hours) in [("GMT", 0), ("KST", 9), ("kst", 9), ("EST", -5), ("PDT", -7), ("A", 1)] {
            assert_eq!(offset_seconds(name.as_bytes()), Some(hours * 3600), "{name}");
        }
        assert_eq!(offset_seconds(b"XYZ"), None);
        assert_eq!(offset_seconds(b""), None);
    }

    #[test]
    fn no_name_has_two_offsets() {
        let mut names: Vec<&str> = ZONES.iter().flat_map(|(_, names)| names.split(' ')).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
