"""Data: datasets, batches, and tables read from CSV files."""

from portanet.data.dataset import Dataset as Dataset
from portanet.data.dataset import Subset as Subset
from portanet.data.dataset import TensorDataset as TensorDataset
from portanet.data.dataset import random_split as random_split
from portanet.data.loader import DataLoader as DataLoader
from portanet.data.loader import default_collate as default_collate
from portanet.data.table import Table as Table
from portanet.data.table import Transformation as Transformation
from portanet.data.table import read_table as read_table
