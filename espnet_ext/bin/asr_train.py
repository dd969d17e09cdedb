"""Train a multi-task ASR model, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import Training

training = Training(
    "asr_train",
    "espnet_ext.tasks.mtl_asr",
    "MTLASRTask",
    """Train a CTC/attention ASR model with utterance classification heads. The options
are those of espnet2.bin.asr_train;""",
    """\
  --token_list FILE          tokens, one a line, <blank> first and <sos/eos> last
  --token_type TYPE          char, word, bpe, ...
  --train_data_path_and_name_and_type FILE,NAME,TYPE
                             wav.scp,speech,sound  text,text,text  utt2accent,accent,text
  --valid_data_path_and_name_and_type FILE,NAME,TYPE
  --model_conf KEY=VALUE     asr_weight (lambda_A), ctc_weight (lambda_C), heads, ...
""",
)
main = training.main

if __name__ == "__main__":
    cli.run(main)
