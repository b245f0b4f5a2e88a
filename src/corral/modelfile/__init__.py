"""Modelfiles: text to directives and back, and directives to create requests."""

from corral.modelfile.fields import ModelfileFields, fields_of
from corral.modelfile.parameters import is_float_parameter, is_integer_parameter, parse_parameters
from corral.modelfile.printer import format_modelfile
from corral.modelfile.reader import Directive, ModelfileError, parse_modelfile

__all__ = [
    "Directive",
    "ModelfileError",
    "ModelfileFields",
    "fields_of",
    "format_modelfile",
    "is_float_parameter",
    "is_integer_parameter",
    "parse_modelfile",
    "parse_parameters",
]
