"""The classes that are used of the Adversarial Robustness Toolbox, imported without pandas.

ART imports scikit-learn, which looks for pandas: two fifths of the CPU time that ART takes.
"""

from espnet_ext.compat import quick_imports

with quick_imports():
    from art.attacks import EvasionAttack
    from art.estimators.classification import PyTorchClassifier
    from art.estimators.pytorch import PyTorchEstimator
    from art.estimators.speech_recognition import SpeechRecognizerMixin
    from art.estimators.speech_recognition.speech_recognizer import PytorchSpeechRecognizerMixin

__all__ = [
    "EvasionAttack",
    "PyTorchClassifier",
    "PyTorchEstimator",
    "PytorchSpeechRecognizerMixin",
    "SpeechRecognizerMixin",
]
