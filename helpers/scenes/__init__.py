"""The lessons' pictures: what happened (`lesson`) drawn in the common grammar (`draw`), frame by frame. Pure."""
from helpers.scenes.files import import_frames, inside, journey, round_trip_frames
from helpers.scenes.models import ATTACH, architecture, attach, forward, forward_frames, in_and_out
from helpers.scenes.refactor import CHANGES, FORMATS, NET, Lab, outcome_picture, outcome_table
from helpers.scenes.training import momentum_frames, photograph_frames, restored, roll

__all__ = ["ATTACH", "CHANGES", "FORMATS", "NET", "Lab", "architecture", "attach", "forward", "forward_frames",
           "import_frames", "in_and_out", "inside", "journey", "momentum_frames", "outcome_picture", "outcome_table",
           "photograph_frames", "restored", "roll", "round_trip_frames"]
