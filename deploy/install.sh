#!/usr/bin/env bash
# Install HomeGuard as a system service on Debian or Raspberry Pi OS (64 bit), or bring it up to date.
#   sudo deploy/install.sh [options] [-- options of `homeguard init`]
#     --dry-run    say what would be done, do nothing (needs no root)
#     --yes        ask nothing; the config is made from the options after --
#     --broker     also install mosquitto, for this machine alone
#     --no-start   do not start the service
#     --uninstall  remove program, unit and user; config, secrets and state stay ...
#     --purge      ... with this they are deleted as well
# Run again it changes only what differs; a config that is there is never touched.
# Secrets are taken from HOMEGUARD_MQTT_PASSWORD and HOMEGUARD_TWILIO_AUTH_TOKEN where they are set.
set -euo pipefail
source=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")

prefix=/opt/homeguard
etc=/etc/homeguard
state=/var/lib/homeguard
credentials=/etc/credstore
unit=/etc/systemd/system/homeguard.service
command=/usr/local/bin/homeguard
packages=(python3 python3-venv libportaudio2)

dry_run=0 yes=0 start=1 uninstall=0 purge=0 changed=0
init_options=() kept=()

say() { printf 'homeguard: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# Do "$@", or only say it.
act() {
    if [ "$dry_run" = 1 ]; then say "would: $*"; else "$@"; fi
}

has_systemd() { [ -d /run/systemd/system ]; }
is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry_run=1 ;;
            --yes | -y) yes=1 ;;
            --broker) packages+=(mosquitto) ;;
            --no-start) start=0 ;;
            --uninstall) uninstall=1 ;;
            --purge) purge=1 ;;
            --help | -h) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
            --) shift; init_options=("$@"); return ;;
            *) die "unknown option $1; --help lists them" ;;
        esac
        shift
    done
}

check_machine() {
    command -v dpkg >/dev/null || die "this is no Debian: see docs/install.md for Docker"
    case $(dpkg --print-architecture) in
        amd64 | arm64) ;;
        *) die "HomeGuard needs a 64-bit system (amd64 or arm64), this is $(dpkg --print-architecture)" ;;
    esac
    [ "$dry_run" = 1 ] || [ "$(id -u)" = 0 ] || die "needs root: sudo $0 (or --dry-run)"
}

confirm() {
    [ "$dry_run" = 0 ] && [ "$yes" = 0 ] || return 0
    [ -t 0 ] || die "nobody is there to ask: give --yes"
    local answer
    read -r -p "homeguard: go on? [y/N] " answer
    case $answer in [yY]*) ;; *) die "nothing was changed" ;; esac
}

# The environment's name says what it is made from; a finished one is never changed.
environment_name() {
    {
        cat "$source/requirements-run.lock" "$source/pyproject.toml"
        # Names and contents of what goes into the program; not the caches that running it leaves.
        (cd "$source" && find -L homeguard models -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
        python3 -V
    } 2>/dev/null | sha256sum | cut -c 1-12
}

install_packages() {
    local package missing=()
    for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || { say "Debian packages: all there"; return; }
    say "Debian packages: ${missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    act "${apt[@]}" update
    act "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

make_user() {
    if id homeguard >/dev/null 2>&1; then say "user homeguard: there"; else
        say "user homeguard: made"
        act useradd --system --user-group --home-dir "$state" --no-create-home \
            --shell /usr/sbin/nologin homeguard
    fi
    # Sound cards belong to the group audio.
    ! getent group audio >/dev/null || act usermod --append --groups audio homeguard
}

make_state() {
    if [ -L "$state" ]; then # of a unit with DynamicUser, as it was before
        say "$state: moved out of $(readlink -f "$state")"
        ! has_systemd || act systemctl --quiet stop homeguard
        act mv -T "$(readlink -f "$state")" "$state.moved"
        act rm "$state"
        act mv -T "$state.moved" "$state"
        act chown -R homeguard:homeguard "$state"
        changed=1
    fi
    act install -d -o homeguard -g homeguard -m 700 "$state"
}

make_environment() {
    local name new pip
    if [ "$dry_run" = 1 ]; then say "would: make $prefix/venv from requirements-run.lock"; return; fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$(python3 -V) is too old: HomeGuard needs 3.11, which Debian 12 has"
    name=$(environment_name) new=$prefix/venv-$name
    if [ -e "$new/.complete" ]; then say "program: $new is there"; else
        say "program: installing into $new (a minute or two)"
        rm -rf "$new"
        mkdir -p "$prefix"
        python3 -m venv "$new"
        pip=("$new/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
        "${pip[@]}" --require-hashes --only-binary=:all: -r "$source/requirements-run.lock"
        "${pip[@]}" --no-deps --no-build-isolation --no-index "$source"
        "$new/bin/homeguard" --version >/dev/null
        touch "$new/.complete"
    fi
    [ "$(readlink "$prefix/venv" || true)" = "venv-$name" ] || changed=1
    # One step from the old program to the new; the one before stays for going back.
    local before
    before=$(readlink "$prefix/venv" || true)
    ln -sfn "venv-$name" "$prefix/.venv-new"
    mv -T "$prefix/.venv-new" "$prefix/venv"
    [ "$before" = "venv-$name" ] || kept=("venv-$name" "$before")
}

# Old programs but the one before; last, for it may take long on a memory card.
remove_old_environments() {
    local old
    [ ${#kept[@]} -gt 0 ] || return 0
    for old in "$prefix"/venv-*; do
        case " ${kept[*]} " in *" ${old##*/} "*) ;; *) rm -rf "$old" ;; esac
    done
}

# Install FILE as TARGET if it differs.
place() {
    local mode=$1 file=$2 target=$3
    if cmp -s "$file" "$target"; then say "$target: there"; return; fi
    say "$target: written"
    act install -D -m "$mode" "$file" "$target"
    changed=1
}

make_config() {
    # Readable by the service through its group, which new files inherit.
    act install -d -o root -g homeguard -m 2750 "$etc"
    if [ -e "$etc/config.yaml" ]; then say "$etc/config.yaml: there, not touched"; return; fi
    local options=("${init_options[@]}")
    [ "$yes" = 0 ] || options+=(--yes)
    say "$etc/config.yaml: homeguard init ${options[*]}"
    act "$prefix/venv/bin/homeguard" init "$etc/config.yaml" "${options[@]}"
    changed=1
}

make_credential() {
    local value=$1 file=$credentials/homeguard_$2
    [ -n "$value" ] || return 0
    say "$file: written"
    [ "$dry_run" = 0 ] || return 0
    install -d -m 700 "$credentials"
    (umask 077 && printf '%s' "$value" >"$file.new" && mv "$file.new" "$file")
    changed=1
}

start_service() {
    if ! has_systemd; then say "systemd does not run here: start it with systemctl enable --now homeguard"; return; fi
    act systemctl daemon-reload
    [ "$start" = 1 ] || { say "not started: systemctl enable --now homeguard"; return; }
    act systemctl --quiet enable homeguard
    if [ "$changed" = 1 ] || ! systemctl --quiet is-active homeguard; then
        say "service: starting"
        act systemctl restart homeguard || die "it does not start: journalctl -u homeguard says why"
    else
        say "service: runs"
    fi
}

install_all() {
    say "this installs from $source:"
    say "  Debian packages ${packages[*]}"
    say "  the system user homeguard, in the group audio"
    say "  the program in $prefix, its command $command"
    say "  $etc/config.yaml (kept if there), secrets in $credentials, state in $state"
    say "  the service $unit"
    confirm
    install_packages
    make_user
    make_state
    make_environment
    place 755 "$source/deploy/homeguard" "$command"
    make_config
    make_credential "${HOMEGUARD_MQTT_PASSWORD:-}" mqtt_password
    make_credential "${HOMEGUARD_TWILIO_AUTH_TOKEN:-}" twilio_auth_token
    make_credential "${HOMEGUARD_APPRISE_URLS:-}" apprise_urls
    place 644 "$source/systemd/homeguard.service" "$unit"
    start_service
    [ "$dry_run" = 1 ] || remove_old_environments
    say "done. Next: sudo homeguard doctor, then sudo homeguard test-alert"
}

remove_all() {
    say "this removes $prefix/venv*, $command and $unit"
    if [ "$purge" = 1 ]; then
        say "  and DELETES $etc, $state (incidents, clips), $credentials/homeguard_*, the user homeguard"
    else
        say "  and keeps $etc, $state, $credentials/homeguard_* and the user that owns them (--purge deletes them)"
    fi
    confirm
    if has_systemd && [ -e "$unit" ]; then act systemctl --quiet disable --now homeguard; fi
    act rm -rf "$prefix"/venv "$prefix"/venv-* "$command" "$unit"
    [ ! -d "$prefix" ] || act rmdir --ignore-fail-on-non-empty "$prefix"
    ! has_systemd || act systemctl daemon-reload
    if [ "$purge" = 1 ]; then
        act rm -rf "$etc" "$state" /var/lib/private/homeguard "$credentials"/homeguard_*
        ! id homeguard >/dev/null 2>&1 || act userdel homeguard
    fi
    say "done"
}

read_options "$@"
check_machine
if [ "$uninstall" = 1 ]; then remove_all; else install_all; fi
