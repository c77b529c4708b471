"""The facts behind the demo texts: the ships, ports, cargoes, officers and months of an invented harbour."""

from typing import NamedTuple


class Ship(NamedTuple):
    """A ship; rig, master, port, cargo, hull and berth never change."""

    name: str
    rig: str
    master: str
    port: str
    cargo: str
    hull: str
    berth: str


class Officer(NamedTuple):
    """A harbour officer with one office, one duty and one room."""

    name: str
    office: str
    duty: str
    room: str


HARBOUR = "Orrelhaven"

# port -> (days of sailing, bearing from the harbour)
PORTS = {
    "Velmora": ("four", "north"),
    "Candrith": ("two", "east"),
    "Sollenby": ("nine", "south"),
    "Port Hesper": ("six", "west"),
    "Tamarun": ("eleven", "south-east"),
    "Quillon Bay": ("three", "north-west"),
    "Ostrelle Sound": ("seven", "north-east"),
    "Merrowick": ("five", "south-west"),
}

# cargo -> (how it is counted, the store that takes it)
CARGOES = {
    "lamp oil": ("casks", "the Stone Cellar"),
    "teal wool": ("bales", "the Long Loft"),
    "bitter almonds": ("sacks", "the Grain House"),
    "bell bronze": ("bars", "the Iron Vault"),
    "smoked eel": ("barrels", "the Salt Shed"),
    "window glass": ("crates", "the Sand Room"),
    "cedar planks": ("stacks", "the Timber Yard"),
    "honey wine": ("jars", "the Cool Arches"),
}

# month -> the weather it always brings
MONTHS = {
    "Frostmere": "a hard frost on the quays",
    "Thawmonth": "melting ice and loud gutters",
    "Larkmonth": "a light wind and clear skies",
    "Haymoon": "warm air and a flat sea",
    "Goldmonth": "long shadows and a dry breeze",
    "Gallowend": "heavy rain from the open sea",
}

SHIPS = (
    Ship("Tessaly", "barque", "Corin Vale", "Velmora", "lamp oil", "green", "the North Mole"),
    Ship("Grey Petrel", "cutter", "Ansa Holt", "Candrith", "teal wool", "grey", "the Fish Steps"),
    Ship("Marigold", "ketch", "Bram Oster", "Sollenby", "bitter almonds", "yellow", "the Mill Quay"),
    Ship("Iron Duchess", "brig", "Selda Marsh", "Port Hesper", "bell bronze", "black", "the Deep Dock"),
    Ship("Lantern", "lugger", "Piers Dunmore", "Merrowick", "smoked eel", "white", "the Chapel Wall"),
    Ship("Silver Wren", "schooner", "Hale Torrin", "Tamarun", "window glass", "silver", "the South Mole"),
    Ship("Patience", "barge", "Nell Ardry", "Quillon Bay", "cedar planks", "brown", "the Timber Stage"),
    Ship("Corrigan", "schooner", "Ives Penhallow", "Ostrelle Sound", "honey wine", "red", "the Customs Pier"),
    Ship("Moonraker", "brig", "Dara Quint", "Sollenby", "lamp oil", "blue", "the Deep Dock"),
    Ship("Halcyon", "ketch", "Rufus Lorne", "Quillon Bay", "smoked eel", "violet", "the Fish Steps"),
    Ship("Black Swan", "barque", "Mina Castell", "Tamarun", "honey wine", "black", "the Customs Pier"),
    Ship("Thornback", "lugger", "Edric Sloane", "Candrith", "cedar planks", "brown", "the Timber Stage"),
    Ship("Evening Bell", "cutter", "Lotte Wyndham", "Merrowick", "bell bronze", "copper", "the Chapel Wall"),
    Ship("Saint Orla", "barque", "Garrick Pell", "Ostrelle Sound", "bitter almonds", "white", "the Mill Quay"),
    Ship("Foxglove", "schooner", "Tilda Rourke", "Velmora", "window glass", "purple", "the North Mole"),
    Ship("Wayfarer", "barge", "Osric Blane", "Port Hesper", "teal wool", "green", "the South Mole"),
    Ship("Kestrel", "cutter", "Jory Tamsin", "Velmora", "smoked eel", "red", "the Fish Steps"),
    Ship("Amber Queen", "brig", "Wilma Strand", "Tamarun", "lamp oil", "yellow", "the Deep Dock"),
    Ship("Drummer", "lugger", "Colm Ashby", "Sollenby", "cedar planks", "blue", "the Timber Stage"),
    Ship("White Heron", "ketch", "Petra Lune", "Candrith", "honey wine", "white", "the Customs Pier"),
    Ship("Northern Star", "barque", "Silas Greave", "Ostrelle Sound", "bell bronze", "silver", "the North Mole"),
    Ship("Pomegranate", "schooner", "Ruth Calder", "Merrowick", "bitter almonds", "red", "the Mill Quay"),
    Ship("Old Harrier", "barge", "Tobin Rusk", "Quillon Bay", "teal wool", "grey", "the South Mole"),
    Ship("Clementine", "ketch", "Vera Norcott", "Port Hesper", "window glass", "copper", "the Chapel Wall"),
)

OFFICERS = (
    Officer("Edda Marlow", "harbour master", "signed the entry in the log", "the Tall House"),
    Officer("Joss Kember", "pilot", "brought the ship over the bar", "the Pilot Lodge"),
    Officer("Orla Finch", "tide keeper", "read the brass tide gauge", "the Gauge Hut"),
    Officer("Sym Barrow", "lamp lighter", "trimmed the lamps on the mole", "the Lower Light"),
    Officer("Thea Grange", "surgeon", "examined the crew for fever", "the Quarantine Ward"),
    Officer("Ludo Crane", "customs clerk", "counted the cargo and sealed it", "the Counting Room"),
    Officer("Maud Ferris", "chart maker", "copied the ship's track on the great chart", "the Map Tower"),
    Officer("Nico Straw", "bell ringer", "rang the arrival bell twice", "the Bell Loft"),
    Officer("Hester Vane", "weather watcher", "wrote down the wind and the glass", "the Vane Room"),
    Officer("Abel Tarn", "sail mender", "looked over the torn canvas", "the Canvas Shed"),
    Officer("Greta Moss", "quartermaster", "sent fresh water and bread aboard", "the Bread Store"),
    Officer("Rowan Pike", "night watch", "walked the quay until dawn", "the Watch House"),
    Officer("Ilse Harrow", "archivist", "filed the ship's papers in the archive", "the Paper Room"),
    Officer("Duncan Reed", "rope maker", "replaced the worn mooring lines", "the Rope Walk"),
    Officer("Cass Willow", "gardener", "carried the foreign seeds to the glasshouse", "the Seed House"),
    Officer("Milo Gant", "ferryman", "rowed the passengers ashore", "the Ferry Steps"),
)

COUNTS = ("twelve", "fifteen", "eighteen", "twenty", "thirty", "thirty-six", "forty", "fifty", "sixty", "ninety")
DAYS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "fifteenth", "eighteenth", "twentieth", "twenty-first", "twenty-fourth", "twenty-seventh"),
)
HOURS = ("at first light", "at noon", "at dusk", "before midnight", "at four bells", "at six bells", "on the flood")
