#!/bin/bash -eu
# Where ClusterFuzzLite looks for it; the same as OSS-Fuzz's.
exec "$SRC/osier/fuzz/oss-fuzz/build.sh"
