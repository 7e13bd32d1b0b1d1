"""The lessons' pictures: what happened (`lesson`) drawn in the common grammar (`draw`), frame by frame. Pure."""

from helpers.scenes.averaging import Line, Update, ema_frames, low_rank_sum
from helpers.scenes.damage import DAMAGES, damaged, instruction_frames, promises
from helpers.scenes.files import import_frames, inside, round_trip_frames
from helpers.scenes.journey import journey
from helpers.scenes.keys import CASES, mismatch, old_naming, rename_and_load, rename_diff
from helpers.scenes.loading import Loads, measured, touch_frames
from helpers.scenes.models import ATTACH, architecture, attach, forward, forward_frames, in_and_out, tree
from helpers.scenes.refactor import CHANGES, FORMATS, NET, Project, outcome_picture, outcome_table
from helpers.scenes.resuming import PARTS, Killed, Run, forgotten, weights
from helpers.scenes.sharding import Regrouped, rows_on_ranks, writing_frames
from helpers.scenes.training import momentum_frames, photograph_frames, restored, resume, roll, rolled
from helpers.scenes.ward import GUESSES, NOT_YET, PATIENTS, Ward, example, first_bytes

__all__ = [
    "ATTACH",
    "CASES",
    "CHANGES",
    "DAMAGES",
    "FORMATS",
    "GUESSES",
    "NET",
    "NOT_YET",
    "PARTS",
    "PATIENTS",
    "Killed",
    "Line",
    "Loads",
    "Project",
    "Regrouped",
    "Run",
    "Update",
    "Ward",
    "architecture",
    "attach",
    "damaged",
    "ema_frames",
    "example",
    "first_bytes",
    "forgotten",
    "forward",
    "forward_frames",
    "import_frames",
    "in_and_out",
    "inside",
    "instruction_frames",
    "journey",
    "low_rank_sum",
    "measured",
    "mismatch",
    "momentum_frames",
    "old_naming",
    "outcome_picture",
    "outcome_table",
    "photograph_frames",
    "promises",
    "rename_and_load",
    "rename_diff",
    "restored",
    "resume",
    "roll",
    "rolled",
    "round_trip_frames",
    "rows_on_ranks",
    "touch_frames",
    "tree",
    "weights",
    "writing_frames",
]
