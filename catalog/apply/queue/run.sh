#!/bin/sh
# Runs the programs that bundles of slipcast left for the first boot, in their
# order: docs/bundles.md, section 9.8. Needs nothing but a POSIX shell, sync and
# timeout.
#
# usage: run QUEUE
set -u
umask 077
queue=$1
reboot=no

# put FILE TEXT makes FILE hold TEXT, and sees to it that it is on the disk.
put() {
	printf '%s\n' "$2" >"$1.new" && sync && mv "$1.new" "$1" && sync
}

# has WORD LIST tells whether WORD is one of the words of LIST.
has() {
	for each in $2; do
		[ "$each" != "$1" ] || return 0
	done
	return 1
}

# finish ENTRY RESULT says how the program of ENTRY ended.
finish() {
	put "$1/result" "$2" || exit 1
	settle "$1"
}

# settle ENTRY takes away what an entry with a result does not need: what it
# was run with may be secret.
settle() {
	rm -f "$1/todo" "$1/program" "$1/code" && sync
}

# begin ENTRY notes that its program starts, and fails if it must not start.
begin() {
	tries=0
	[ ! -e "$1/started" ] || tries=$(cat "$1/started")
	if [ "$tries" -gt 0 ] && [ "$retry" = never ] || [ "$tries" -ge 5 ]; then
		finish "$1" cut
		return 1
	fi
	rm -f "$1/code"
	put "$1/started" $((tries + 1)) || exit 1
}

# judge ENTRY says how its program ended. It writes the code itself, so that a
# program that returns what timeout would is not taken for one that was killed.
judge() {
	[ -s "$1/code" ] || {
		finish "$1" timeout
		return
	}
	code=$(cat "$1/code")
	if has "$code" "$ok"; then
		finish "$1" "ok $code"
	elif has "$code" "$reboots"; then
		finish "$1" "reboot $code"
		reboot=yes
	else
		finish "$1" "failed $code"
	fi
}

# run ENTRY runs its program.
run() {
	ok='' reboots='' limit=60 retry=safe between=no
	# shellcheck source=/dev/null
	. "$1/rules"
	begin "$1" || return
	# shellcheck disable=SC2016
	timeout -k 10 "$limit" /bin/sh -c '/bin/sh "$1/program" >"$1/log" 2>&1 </dev/null; echo $? >"$1/code"' sh "$1"
	judge "$1"
}

for entry in "$queue"/[0-9]*; do
	[ -e "$entry/rules" ] || continue
	if [ -e "$entry/result" ]; then
		settle "$entry"
	else
		run "$entry"
		[ "$reboot$between" != yesyes ] || break
	fi
	case $(cat "$entry/result") in
	ok* | reboot*) ;;
	*)
		echo "slipcast: ${entry##*/}: $(cat "$entry/result")" >&2
		exit 1
		;;
	esac
done
[ "$reboot" = no ] || systemctl reboot
