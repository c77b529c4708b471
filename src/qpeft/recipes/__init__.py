"""Recipes: comparisons as YAML files, packaged or your own."""

from qpeft.recipes.recipe import Recipe as Recipe
from qpeft.recipes.recipe import find_recipe as find_recipe
from qpeft.recipes.recipe import load_recipe as load_recipe
from qpeft.recipes.recipe import packaged as packaged
from qpeft.recipes.recipe import parse_method as parse_method
from qpeft.recipes.study import StudyRecipe as StudyRecipe
from qpeft.recipes.study import load_study as load_study
from qpeft.recipes.study import packaged_studies as packaged_studies
