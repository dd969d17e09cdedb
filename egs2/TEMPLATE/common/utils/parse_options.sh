# shellcheck shell=bash
# Source this file after giving every option of the script a default:
#
#     stage=1
#     use_lm=false
#     . utils/parse_options.sh
#
# --stop-stage 3 (or --stop_stage 3) sets the variable stop_stage, which must exist. One
# that is true or false stays so. --config F sources F first: the command line beats it.
# --help prints $help_message. The first argument that is no option and all after it
# stay in "$@".

_po_die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# Turn --foo-bar into foo_bar; fail unless the script has such a variable.
_po_find() {
    _po_name=${1#--}
    _po_name=${_po_name//-/_}
    [[ $1 == --* && ${_po_name} =~ ^[A-Za-z][A-Za-z0-9_]*$ && -n ${!_po_name+set} ]]
}

_po_set() {
    _po_find "$1" || _po_die "unknown option '$1'"
    case ${!_po_name}:$2 in
        true:true | true:false | false:true | false:false) ;;
        true:* | false:*) _po_die "option '$1' must be true or false, not '$2'" ;;
    esac
    printf -v "${_po_name}" '%s' "$2"
}

for ((_po_i = 1; _po_i < $#; _po_i += 2)); do
    [[ ${!_po_i} == --* ]] || break
    [[ ${!_po_i} == --config ]] || continue
    config=${*:_po_i+1:1}
    [[ -r ${config} ]] || _po_die "--config: cannot read '${config}'"
    # shellcheck source=/dev/null
    . "${config}"
done

while [[ ${1:-} == --* || ${1:-} == -h ]]; do
    case $1 in
        --help | -h)
            printf '%b\n' "${help_message:-no help for ${0##*/}}"
            exit 0
            ;;
        --*=*) _po_die "write '${1%%=*} ${1#*=}' instead of '$1'" ;;
    esac
    [[ $1 == --config ]] || _po_find "$1" || _po_die "unknown option '$1'; --help may list them"
    # An option in the place of the value is a forgotten value.
    if [[ $# -lt 2 ]] || _po_find "$2"; then
        _po_die "option '$1' needs a value"
    fi
    [[ $1 == --config ]] || _po_set "$1" "$2"
    shift 2
done

unset -f _po_die _po_find _po_set
unset _po_name _po_i
