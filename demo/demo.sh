#!/bin/bash
# Build and install the packages, run the demonstration, and put the machine back as it was.
# "make demo" installs what this needs.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

cleanup() {
    if ((${#added[@]})); then
        say "Removing the packages again"
        apt-get -qq purge --yes "${added[@]}" </dev/null >"$log" 2>&1 || { cat "$log"; exit 1; }
    fi
    if [[ -d /run/systemd/system ]] && ((masked)); then
        systemctl --quiet --runtime unmask bmx7-wg.service
    fi
    rm -f "$log"
}

log=$(mktemp)
added=()
masked=0
trap cleanup EXIT

say "Building the packages"
DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" make --silent deb >"$log" 2>&1 \
    || { cat "$log"; exit 1; }
ls build/deb/*.deb

say "Installing them"
for package in bmx7-wg bmx7-wg-lab; do
    installed "$package" || added+=("$package")
done
# The demonstration's nodes live in namespaces. The machine itself joins no mesh by it.
if [[ -d /run/systemd/system ]] && ! installed bmx7-wg; then
    systemctl --quiet --runtime mask bmx7-wg.service
    masked=1
fi
apt-get -qq install --yes --no-install-recommends --reinstall --allow-downgrades \
    ./build/deb/bmx7-wg_*.deb ./build/deb/bmx7-wg-lab_*.deb </dev/null >"$log" 2>&1 \
    || { cat "$log"; exit 1; }

say "Running the demonstration: bmx7-wg-lab demo"
cd /
bmx7-wg-lab demo
