# guard.sh FOLDER SIGNAL PROGRAM ARG...
# Runs PROGRAM until standard input ends, that is until the test program lets go of it or dies; then sends it
# SIGNAL and removes FOLDER.
trap : INT TERM HUP
folder=$1 signal=$2
shift 2
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
echo "$server"
read -r _
kill -s "$signal" "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$folder"
