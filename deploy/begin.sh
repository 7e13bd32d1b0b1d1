#!/bin/sh
# A learner's server begins, as the learner: lessons that are missing in the home are copied, then the command runs.
#   begin.sh LESSONS COMMAND...
lessons=$1; shift
cp -Rn "$lessons/." . || :
if [ ! -e .local/share/jupyter/nbsignatures.db ]; then
    find notebooks -name '*.ipynb' -not -path '*/.*' -exec timeout 60 jupyter trust {} +
fi
exec "$@" > .server.log 2>&1
