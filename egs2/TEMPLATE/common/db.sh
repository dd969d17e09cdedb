# shellcheck shell=bash disable=SC2034
# Where the corpora are. Set a variable here or in the environment.

# Free Spoken Digit Dataset: has recordings/*.wav and metadata.py (or speakers.tsv).
FSDD=${FSDD:-}
# Common Voice, one language of one release: has validated.tsv, train.tsv and clips/*.mp3.
COMMONVOICE=${COMMONVOICE:-}
# LibriSpeech: has SPEAKERS.TXT and the parts as folders, such as train-clean-100/.
LIBRISPEECH=${LIBRISPEECH:-}
# ASVspoof 2019 logical access: has ASVspoof2019_LA_train/flac/ and ASVspoof2019_LA_cm_protocols/.
ASVSPOOF2019_LA=${ASVSPOOF2019_LA:-}
# speechocean762: has train/, test/ and WAVE/.
SPEECHOCEAN762=${SPEECHOCEAN762:-}
