#!/bin/sh
# Usage: fetch-servers.sh DIR
#
# Fetches the Redis and Valkey of a newer Debian, with the libraries they need,
# beside a Debian system and without changing it, and prints what
# SESSIONS_REDIS_SERVERS expects: the paths of two executables, joined by a
# colon. DIR keeps everything; a second run uses what is there.
#
#	SESSIONS_REDIS_SERVERS=$(internal/redistest/fetch-servers.sh /var/tmp/servers) go test ./...
#
# It needs apt and dpkg. Mirror and keys are those that the system's own apt
# uses; SUITE (default trixie) names the release.
set -eu

suite=${SUITE:-trixie}
mkdir -p "${1:?usage: fetch-servers.sh DIR}"
dir=$(cd "$1" && pwd)

# The first mirror of the main archive that the system has sources for.
mirror=$(apt-get indextargets --format '$(SITE) $(SUITE) $(COMPONENT)' 'Created-By: Packages' |
	awk '$3 == "main" && $2 !~ /security|updates|backports/ { print $1; exit }')
[ -n "$mirror" ] || { echo "fetch-servers.sh: apt has no source of the main archive" >&2; exit 1; }

# An apt of its own: configuration, lists and cache below DIR.
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/apt/etc/preferences.d" "$dir/root"
: >"$dir/apt/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$dir/apt/sources.list"
cat >"$dir/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "$dir/apt/etc/preferences.d";
Dir::State::lists "$dir/apt/lists";
Dir::State::status "$dir/apt/status";
Dir::Cache "$dir/apt/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
CONF
# What the system configures besides, a proxy say, stays in force.
own_apt() { apt-get -qq -c "$dir/apt/apt.conf" "$@" >&2; }

# unpack NAME: the package of that name and all it depends on, and an executable
# that runs the command of that name with the C library it was built for.
unpack() {
	root=$dir/root/$1
	if [ ! -x "$dir/$1" ]; then
		[ -s "$dir/apt/updated" ] || { own_apt update && date >"$dir/apt/updated"; }
		# To an apt that has nothing installed, everything needed is missing.
		rm -f "$dir"/apt/cache/archives/*.deb
		own_apt install --download-only --yes "$1"
		rm -rf "$root"
		mkdir -p "$root"
		for deb in "$dir"/apt/cache/archives/*.deb; do
			dpkg -x "$deb" "$root"
		done
		loader=$(find "$root/" -name 'ld-linux*.so.*' | head -n 1)
		libs=$(find "$root/" -path '*/lib*/*.so.*' ! -path '*/share/*' ! -path '*/gconv/*' -exec dirname {} \; | sort -u | paste -s -d : -)
		command=$(find "$root/" -path "*/bin/$1" | head -n 1)
		[ -n "$loader" ] && [ -n "$command" ] || { echo "fetch-servers.sh: no $1 in its package" >&2; exit 1; }
		printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libs" "$command" >"$dir/$1"
		chmod +x "$dir/$1"
	fi
	"$dir/$1" --version >&2
}

unpack redis-server
unpack valkey-server
echo "$dir/redis-server:$dir/valkey-server"
