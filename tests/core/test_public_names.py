"""Public names keep their places, and pickles of earlier versions still load: files may move, names may not."""

import base64
import importlib
import pickle
import pickletools
from types import FunctionType

import pytest

import initlib

# The functions and classes whose place is their package and their own name.
OWN = {
    "initlib": (
        "Fans Initializer Key Parameter Plan PlanError SignalReport alibi_slopes audit constant delta_orthogonal dirac "
        "fans gain get_num_threads icnr identity inverse_softplus loaded log_uniform logarithm mup_learning_rates "
        "normal orthogonal parts plan rotary_frequencies same_as scaled sinusoidal "
        "set_num_threads show_config siren sparse spectral truncated_normal uniform values variance_scaling "
        "zero_hadamard "
    ),
    "initlib.adapters.torch": (
        "audit calculate_gain coordinate_check declare delta_orthogonal_ dirac_ eye_ fill_ glorot_normal_ "
        "glorot_uniform_ he_normal_ he_uniform_ initialize kaiming_normal_ kaiming_uniform_ lecun_normal_ "
        "lecun_uniform_ lsuv_ named normal_ orthogonal_ parameter_groups plan signals skeleton sparse_ trunc_normal_ "
        "truncated_normal_ uniform_ variance_scaling_ verify xavier_normal_ xavier_uniform_ "
    ),
    "initlib.adapters.jax": (
        "JaxInitializer audit declare delta_orthogonal draw glorot_normal glorot_uniform he_normal he_uniform "
        "initialize initializer lecun_normal lecun_uniform normal ones orthogonal parameter_labels plan signals "
        "truncated_normal uniform variance_scaling verify zeros "
    ),
    "initlib.adapters.keras": (
        "CoreInitializer GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Orthogonal "
        "RandomNormal RandomUniform TruncatedNormal VarianceScaling audit declare deserialize get initialize plan "
        "signals verify "
    ),
}

# The functions and classes that stand under more than one name.
ALIASES = {
    "initlib.adapters.jax.kaiming_normal": "initlib.adapters.jax:he_normal",
    "initlib.adapters.jax.kaiming_uniform": "initlib.adapters.jax:he_uniform",
    "initlib.adapters.jax.xavier_normal": "initlib.adapters.jax:glorot_normal",
    "initlib.adapters.jax.xavier_uniform": "initlib.adapters.jax:glorot_uniform",
    "initlib.adapters.keras.OrthogonalInitializer": "initlib.adapters.keras:Orthogonal",
    "initlib.adapters.keras.glorot_normal": "initlib.adapters.keras:GlorotNormal",
    "initlib.adapters.keras.glorot_uniform": "initlib.adapters.keras:GlorotUniform",
    "initlib.adapters.keras.he_normal": "initlib.adapters.keras:HeNormal",
    "initlib.adapters.keras.he_uniform": "initlib.adapters.keras:HeUniform",
    "initlib.adapters.keras.lecun_normal": "initlib.adapters.keras:LecunNormal",
    "initlib.adapters.keras.lecun_uniform": "initlib.adapters.keras:LecunUniform",
    "initlib.adapters.keras.orthogonal": "initlib.adapters.keras:Orthogonal",
    "initlib.adapters.keras.random_normal": "initlib.adapters.keras:RandomNormal",
    "initlib.adapters.keras.random_uniform": "initlib.adapters.keras:RandomUniform",
    "initlib.adapters.keras.truncated_normal": "initlib.adapters.keras:TruncatedNormal",
    "initlib.adapters.keras.variance_scaling": "initlib.adapters.keras:VarianceScaling",
}

# Pickles that version 0.1 wrote, by what makes them.
PICKLES = {
    "Key(7)": "fC6J_ZfSIEX<`aXWqAs504afS0ex`-SOfq70CQz!WN`ya2XkUB",
    "Key(7).fold_in('conv1')": "fC6J_ZfSIEX<`aXWqAs504afS0ex`-SOfq70CQz!WN`zE2!z02x3BZPSaV`7",
    "Fans(3, 4)": "fC6J_ZfSIEX<`aSVQzB@aR5sLO9X~-0fBJ>E&",
    "constant(0.5)": "fC6J_ZfSIEX<`avZ*FsRVQzE^aR4cSaRGgC0$2qA004GjY;|RE14lpL000000047hE&",
    "delta_orthogonal(0.5)": "fC6J_ZfSIEX<`awWo&d|UvF}BXm4k4ZeeT+aR4cSaRGgC0$2n9003uUX>M@?M?c^I000000CQq4",
    "dirac()": "fC6J_ZfSIEX<`awX>ws>3UL4_fpGzSaROKb0001IVQFr014lpb000000047hE&",
    "he_normal": (
        "fC6J_ZfSIEX<`a?VRC6<ZewL%b7Ns_X>Ml<aR4cSaRGgC0w`Dp0001HVPkY}a&ZGkKmY&$00000SOfq70Bvt%WpM;p1^@s6W?^n$"
        "X>M@^SPTFF0Ay)%baH88b#!TOZgB=!5C8xGbaHiWV_|e<WM6J?a&2L3aR+r`E&"
    ),
    "icnr(he_normal, 2)": (
        "fC6J_ZfSIEX<`a#V{UQ^aR4cSaRGgC0w`Du0001KZfSIBVQgu7WpZ%?V`*+_bZlv23U*;~X<=?-WnXh+VQgt`X9{ryDS>eXeQ^dT"
        "SOx$90A^uhbZ>HT2S-2v00000003A70001OZ)9b02v`OH003rTZeM9`aS2!q0001FX>)XPX<~JBX>V?E3Rn;T004Ayb#7x}bY)~;"
        "Zf|mJVQg^=bz)ct0001WaC2i}Y-Mo_O9EI20001UXmw_0Y-Mo`SPcLG0B~t|Wo%z_Xmw_0Y-Mo{bz&|"
    ),
    "identity(2.0)": "fC6J_ZfSIEX<`a#WMyu2X>@rCaR4cSaRGgC0$2n9003uUX>M@?M?e4o000000CQq4",
    "inverse_softplus(log_uniform(0.001, 0.1))": (
        "fC6J_ZfSIEX<`a#ZgypIb7fz1Z)S9GY;|)AaR4cSaRGgC0w`Du0001KZfSIBVQgu7WpZ%?V`*+_bZlv23T$s@Uv+M2W^ZzB3ULG}"
        "fpG<WaRw+@0{{R3Y;SjQ2S-0pVolQVsr*<30001JX=iA02uDA;nVFfHnVNNCSOow80A_4&Z*p-7M?V@i;_DnkEp=ip"
    ),
    "normal(0.0, 0.02)": "fC6J_ZfSIEX<`a)Z*py6YzlDzDS>eTeQ^RPSOfq70BvPqZgB%g0000000000SOow80CQ<)ZDDZ)M?aK$;YY3%dv#(i",
    "orthogonal()": "fC6J_ZfSIEX<`a*a&%~KXK!v{YzlDzDS>eTeQ^R<1ONa4XJKh>aRWy`@Bjb+0001UVlD",
    "scaled(he_normal, 0.5)": (
        "fC6J_ZfSIEX<{yOV`yb<WpgfRZfSIBVQgu7WpWBrV_|G%WD0QrDS>eTeQ^RPSPK9E0BLS%bZKF1X?kUHaRXy%ZfSIEX<`a?VRC6<"
        "ZewL%b7Ns_X>Ml<aRe!WaRq&G1}Int0001HVPkY}a&ZSoKmY&$00000SOfq70Bvt%WpM~t1^@s6W?^n$X>M@|SPTFF0Ay)%baH88"
        "b#!TOZgC1&5C8xGbaHiWV_|e<WM6J?a&2L3aSL@~Xa`3>-~a#s0001WVlD"
    ),
    "siren()": "fC6J_ZfSIEX<`a<X>w(53UL4_fpGzSaRMk<0ssI2cQA1SM?gLR0000009XY8003rba&vTX1c`NGE&",
    "sparse(0.9)": "fC6J_ZfSIEX<`a<aA9(DWeRZsDS>eTeQ^RPSO@?B0CR9*a&u{Pd2s_rKkUrR%*@QqSOow80CQ<)ZDDZ)M?Zvm;YY3%dv#(i",
    "spectral()": "fC6J_ZfSIEX<`a<aAjk3a$#%=aR4cSaRGgC0$2n9003uUX>M@?M?dfY000000CQq4",
    "truncated_normal(0.0, 0.02)": (
        "fC6J_ZfSIEX<`a=a&>NFVRU6=Uv6)5ZDDK*aR4cSaRGgC0w`Dn0001OWnpe{14jS=00000003A80001UX=iO=aRf&{lzQPut`vJ%"
        "0{{R3Y;SjQ1xLT6df`W|6nj_%0001JX=iA021h@ndf`W|6nk}IE&"
    ),
    "uniform(-0.1, 0.1)": "fC6J_ZfSIEX<`a>ZfRz3a%~E604afS0ex`-C|Cmk003-ncX0zpzqy&2nVFfISOfq70BC7vXmJEbKe?HinVFfIbz&|",
    "glorot_uniform": (
        "fC6J_ZfSIEX<`a?VRC6<ZewL%b7Ns_X>Ml<aR4cSaRGgC0w`Dp0001HVPkY}a&ZGkKkxtm00000SOfq70Bvt%WpM;p2LJ#7W?^n$"
        "VRmP61y~FK003lZb98cPVs&(BZ*Fl0SO)+A0CjF@W^ZzBaR+r`E&"
    ),
    "zero_hadamard()": "fC6J_ZfSIEX<`a`WpZy{XklbwZDDd`3UL4_fpGzSaROKb0001IVQFr014lpb000000047hE&",
}


def place(member):
    return f"{member.__module__}:{member.__qualname__}"


def names(pickled):
    return [argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)]


@pytest.mark.parametrize("package", OWN)
def test_every_function_and_class_has_the_place_that_users_import(package):
    if package.startswith("initlib.adapters."):
        pytest.importorskip(package.rpartition(".")[2])
    module = importlib.import_module(package)
    for name in OWN[package].split():
        assert place(getattr(module, name)) == f"{package}:{name}"
    for alias, expected in ALIASES.items():
        if alias.rpartition(".")[0] == package:
            assert place(getattr(module, alias.rpartition(".")[2])) == expected


@pytest.mark.parametrize("package", OWN)
def test_the_table_names_every_function_and_class_of_the_package(package):
    if package.startswith("initlib.adapters."):
        pytest.importorskip(package.rpartition(".")[2])
    module = importlib.import_module(package)
    members = {name: getattr(module, name) for name in module.__all__}
    public_names = {
        name
        for name, member in members.items()
        if isinstance(member, (FunctionType, type)) and member.__module__.startswith("initlib")
    }
    assert public_names == {
        *OWN[package].split(),
        *(alias.rpartition(".")[2] for alias in ALIASES if alias.rpartition(".")[0] == package),
    }


@pytest.mark.parametrize("text", PICKLES)
def test_a_pickle_of_an_earlier_version_loads(text):
    value = eval(text, vars(initlib))
    assert pickle.loads(base64.b85decode(PICKLES[text])) == value
    assert pickle.loads(pickle.dumps(value)) == value
    # A pickle of today loads in that version too: it names the same classes and fields.
    assert names(pickle.dumps(value, protocol=2)) == names(base64.b85decode(PICKLES[text]))
